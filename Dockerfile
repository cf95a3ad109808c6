# The page for a hospital server: docker build -t diff3m-explorer . && docker run --rm -p 127.0.0.1:7860:7860 --read-only --tmpfs /tmp diff3m-explorer
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 GRADIO_SERVER_NAME=0.0.0.0 HF_HUB_OFFLINE=1 MPLCONFIGDIR=/tmp/matplotlib HOME=/tmp
WORKDIR /srv/diff3m
# a GPU needs another build of torch: docker build --build-arg TORCH="torch==2.13.0" --build-arg INDEX=…
ARG TORCH="torch==2.13.0+cpu"
ARG INDEX="https://download.pytorch.org/whl/cpu"
COPY requirements.txt .
RUN pip install --extra-index-url "$INDEX" "$TORCH" && pip install -r requirements.txt highdicom
COPY app.py ./
COPY app app
COPY diff3m diff3m
COPY assets assets
COPY checkpoints checkpoints
RUN useradd --no-create-home explorer
USER explorer
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=4)"
CMD ["python", "app.py"]
