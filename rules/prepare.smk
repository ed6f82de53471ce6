rule prepare:
    """Turn the official files of a dataset into arrays."""
    input:
        raw_of_dataset,
    output:
        "<results>/data/{dataset}.safetensors",
    log:
        "<logs>/prepare/{dataset}.log",
    wildcard_constraints:
        dataset=any_of(datasets_of("numbers")),
    cache: True
    container:
        "containers/data.sif"
    threads: 1
    resources:
        **on_cpus,
        mem_mb=megabytes(memory_of_dataset),
        runtime=minutes(60),
    params:
        dataset="{dataset}",
        version=version_of_dataset,
    script:
        "../scripts/prepare.py"


use rule prepare as prepare_text with:
    wildcard_constraints:
        dataset=any_of(datasets_of("tokens")),
    container:
        "containers/text.sif"
