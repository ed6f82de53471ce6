rule train:
    """Train the runs of a part; those that are finished are not trained again.

    `params` holds all that decides the numbers, so a run is trained anew exactly when they would change.
    """
    input:
        data=data_of_part,
        corrupted=corrupted_of_part,
    output:
        metrics="<run>/metrics.parquet",
        sources="<run>/sources.parquet",
        runs="<run>/runs.json",
    log:
        "<logs>/train/{study}/{part}.log",
    benchmark:
        "<logs>/train/{study}/{part}.tsv"
    container:
        "containers/train.sif"
    threads: processes_of_run
    resources:
        **on_gpus,
        mem_mb=megabytes(plan.settings.memory_mb * processes_of_run),
        runtime=minutes(minutes_of_part),
    params:
        cells=jobs_of_part,
        origin=origin_of_training(),
    script:
        "../scripts/train.py"
