rule corrupt:
    """Decide sources, corrupted samples and labels for one seed; shared by all methods."""
    input:
        "<results>/data/{dataset}.safetensors",
    output:
        "<results>/corrupted/{dataset}/{corruption}-{key}/seed={seed}.safetensors",
    log:
        "<logs>/corrupt/{dataset}/{corruption}-{key}/seed={seed}.log",
    cache: True
    container:
        "containers/data.sif"
    threads: 1
    resources:
        **on_cpus,
        mem_mb=megabytes(2000),
        runtime=minutes_in_group(6),
    params:
        settings=settings_of_corruption,
        seed="{seed}",
    script:
        "../scripts/corrupt.py"
