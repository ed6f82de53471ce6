from lapwing.training.gpus import visible_gpus

# Each job on this machine takes a GPU, or as many as it trains on: as many jobs at once as there are GPUs for, where each
# core would bring one. `--resources jobs_on_gpu=8` lets more share them. Those on a cluster do not count (`local`): its
# scheduler shows each its own.
on_this_gpu = {}
visible = visible_gpus()
if plan.settings.device == "cuda" or (plan.settings.device == "auto" and visible):
    on_this_gpu["jobs_on_gpu"] = 1
    workflow.global_resources.setdefault("jobs_on_gpu", max(1, len(visible) // processes_of_run))


resource_scopes:
    jobs_on_gpu="local",


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
        **on_this_gpu,
        **on_gpus,
        mem_mb=megabytes(plan.settings.memory_mb * processes_of_run),
        runtime=minutes(minutes_of_part),
    params:
        cells=jobs_of_part,
        origin=origin_of_training(),
    script:
        "../scripts/train.py"
