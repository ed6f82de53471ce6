rule prepare:
    """Turn the official files of a dataset into arrays."""
    input:
        raw_of_dataset,
    output:
        "<results>/data/{dataset}.safetensors",
    log:
        "<logs>/prepare/{dataset}.log",
    cache: True
    container:
        "containers/data.sif"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        dataset="{dataset}",
        version=version_of_dataset,
    script:
        "../scripts/prepare.py"
