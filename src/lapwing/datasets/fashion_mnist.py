"""Fashion-MNIST: 70,000 grey images of clothes, 28 x 28, in ten classes."""

from lapwing.datasets.base import Dataset
from lapwing.datasets.idx import ROWS, mnist_files, read_mnist_files

OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
AUTHORS_REPOSITORY = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
    "b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion"
)

DATASET = Dataset(
    title="Fashion-MNIST",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    input_shape=(1, 28, 28),
    rows=ROWS,
    licence="MIT (Copyright 2017 Zalando SE)",
    read=read_mnist_files,
    mirror_folder="fashion-mnist",
    files=mnist_files(
        (OFFICIAL, AUTHORS_REPOSITORY),
        {
            "train-images-idx3-ubyte.gz": (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            "train-labels-idx1-ubyte.gz": (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            "t10k-images-idx3-ubyte.gz": (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            "t10k-labels-idx1-ubyte.gz": (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        },
    ),
)
