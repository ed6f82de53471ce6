rule download:
    """Fetch and verify the official files of a dataset, from a mirror or the network."""
    output:
        directory("<raw>/{dataset}"),
    log:
        "<logs>/download/{dataset}.log",
    cache: True
    localrule: not plan.settings.slurm.network
    container:
        "containers/data.sif"
    threads: 1
    resources:
        **on_cpus,
        mem_mb=megabytes(1000),
        runtime=minutes(240),
    params:
        dataset="{dataset}",
        files=files_of_dataset,
    script:
        "../scripts/download.py"
