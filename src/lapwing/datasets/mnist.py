"""MNIST: 70,000 grey images of handwritten digits, 28 x 28 (LeCun, Cortes and Burges)."""

from lapwing.datasets.base import Dataset
from lapwing.datasets.idx import ROWS, mnist_files, read_mnist_files

OFFICIAL = "http://yann.lecun.com/exdb/mnist"
USUAL_COPY = "https://ossci-datasets.s3.amazonaws.com/mnist"

DATASET = Dataset(
    title="MNIST",
    version=1,
    task="classification",
    classes=10,
    scale=1 / 255,
    input_shape=(1, 28, 28),
    rows=ROWS,
    licence="none stated by the authors (LeCun, Cortes and Burges), often given as CC BY-SA 3.0",
    read=read_mnist_files,
    mirror_folder="mnist",
    files=mnist_files(
        (OFFICIAL, USUAL_COPY),
        {
            "train-images-idx3-ubyte.gz": (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            "train-labels-idx1-ubyte.gz": (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            "t10k-images-idx3-ubyte.gz": (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            "t10k-labels-idx1-ubyte.gz": (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        },
    ),
)
