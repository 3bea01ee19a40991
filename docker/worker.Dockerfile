# The Project-AI worker and, under another command, JupyterLab. Build context: the repository.
FROM python:3.11.13-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

RUN useradd --create-home --uid 1000 lab
WORKDIR /opt/projectai-lab

# An empty package first, so that a change in the source leaves the layer of dependencies alone.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir projectai_lab && touch projectai_lab/__init__.py && pip install -c constraints.txt .
COPY projectai_lab projectai_lab
RUN pip install --no-deps --force-reinstall .

USER lab
WORKDIR /home/lab
# SIGTERM drains the worker; exec form, so that it arrives there.
CMD ["projectai-lab", "worker"]
