from lapwing.results import RESULTS_VERSION


report: "report.rst"  # the first page of Snakemake's own report


rule report:
    """One page with every artefact, ours beside published, and where each number comes from."""
    input:
        artefacts=files_of_all_artefacts,
        runs=runs_of_all_studies,
    output:
        report("<results>/report.html", category="All artefacts beside the published values"),
    log:
        "<logs>/report.log",
    benchmark:
        "<logs>/report.tsv"
    localrule: True
    container:
        "containers/present.sif"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        version=RESULTS_VERSION,
        artefacts=artefacts_shown,
        asked=asked_of_all_artefacts,
        left_out=left_out_shown,
        scale=plan.settings.scale,
        settings=settings_shown,
    script:
        "../scripts/report.py"
