# The environment of `make setup`. The clone is mounted over /zsbench, so the image contains no results and need not be
# rebuilt when code changes. With CUDA, like PyPI's torch:   docker build --tag zsbench .
# For CPUs, a third of the size:   docker build --tag zsbench --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.11-slim

# make and g++ are for `torch.compile`, Triton's kernels and DeepSpeed's just-in-time build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /zsbench
COPY Makefile constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
ARG TORCH_INDEX=
RUN PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL=$TORCH_INDEX make setup VENV=/opt/zsbench

ENV PATH=/opt/zsbench/bin:$PATH
CMD ["snakemake", "--cores", "2", "--resources", "gpu=2", "network=2", "--configfile", "workflow/configs/embedded.yaml"]
