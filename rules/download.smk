rule download:
    """Fetch and verify the official files of a dataset, from a mirror or the network."""
    output:
        directory("<raw>/{dataset}"),
    log:
        "<logs>/download/{dataset}.log",
    cache: True
    container:
        "containers/data.sif"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        dataset="{dataset}",
        files=files_of_dataset,
    script:
        "../scripts/download.py"
