# tlcli without GPU support, as a user without privileges:
#
#     docker build -t tlcli .
#     docker run --rm -v "$PWD:/work" -v tlcli_cache:/cache tlcli retrain --image_dir photos
#
# docs/install.md has more. podman and buildah take the same file.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
# Without a compiler everything works, but JPEG files are resized more slowly.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/tlcli
WORKDIR /source
COPY . .
# There is no tensorflow-cpu for ARM, where tensorflow has no GPU support either.
RUN /opt/tlcli/bin/pip install --no-cache-dir \
    $(test "$(uname -m)" != x86_64 || echo ./install/tensorflow_cpu) ".[lite,serve]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/tlcli /opt/tlcli
# Anyone may write into both, so that --user works with any id.
RUN useradd --create-home --uid 1000 tlcli \
    && mkdir -m 1777 /cache /work
ENV PATH=/opt/tlcli/bin:$PATH TLCLI_CACHE_DIR=/cache
USER tlcli
WORKDIR /work
VOLUME /cache
EXPOSE 8501
ENTRYPOINT ["tlcli"]
CMD ["--help"]
