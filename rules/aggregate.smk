from lapwing.results import RESULTS_VERSION


rule aggregate:
    """Collect what the parts of a study left in one tidy table each."""
    input:
        metrics=metrics_of_study,
        sources=sources_of_study,
        runs=runs_of_study,
    output:
        results="<results>/results/{study}.parquet",
        sources="<results>/results/{study}_sources.parquet",
        runs="<results>/results/{study}_runs.parquet",
    log:
        "<logs>/aggregate/{study}.log",
    benchmark:
        "<logs>/aggregate/{study}.tsv"
    container:
        "containers/present.sif"
    threads: 1
    resources:
        **on_cpus,
        mem_mb=megabytes(2000),
        runtime=minutes(10),
    params:
        version=RESULTS_VERSION,
        study=lambda wildcards: study_shown(wildcards.study),
    script:
        "../scripts/aggregate.py"
