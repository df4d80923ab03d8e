# The operator's image: dependencies exactly as in requirements.lock, nothing to build or install with at run time.
# Storage adapters are not in it: put them under /opt/resurgo/sra, in an image of your own or with a volume.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/build && python -m venv --without-pip /opt/resurgo/venv
# Dependencies in a layer of their own: it changes with the lock only.
COPY requirements.lock /src/
RUN /opt/build/bin/pip --python /opt/resurgo/venv/bin/python install --require-hashes --only-binary :all: -r /src/requirements.lock
COPY pyproject.toml README.md LICENSE /src/
COPY operator /src/operator
RUN /opt/build/bin/pip install hatchling==1.33.0 \
    && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /src/dist /src \
    && /opt/build/bin/pip --python /opt/resurgo/venv/bin/python install --no-deps --no-index /src/dist/*.whl \
    && /opt/resurgo/venv/bin/python -m compileall -q /opt/resurgo/venv

FROM ${PYTHON}
COPY --from=build /opt/resurgo/venv /opt/resurgo/venv
RUN mkdir -p /opt/resurgo/sra /var/lib/resurgo && chown 65532:65532 /var/lib/resurgo
ENV PATH=/opt/resurgo/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["resurgo"]
