# The image that docs/examples/cronjob.yaml names: slim, and run by a user without rights.
#     docker build -t registry.example.com/omneo-import:0.1.0 .
#     docker run --rm -v "$PWD:/data" -w /data registry.example.com/omneo-import:0.1.0 --help
ARG PYTHON=docker.io/library/python:3.13-slim

FROM ${PYTHON} AS build
RUN python3 -m venv /opt/omneo-import
COPY requirements/all.txt /build/requirements.txt
RUN /opt/omneo-import/bin/python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r /build/requirements.txt
COPY pyproject.toml README.md /build/
COPY pipeline /build/pipeline
COPY mappings /build/mappings
COPY sample_data /build/sample_data
RUN /opt/omneo-import/bin/python -m pip install --no-cache-dir --no-deps /build \
    && /opt/omneo-import/bin/python -m pip uninstall --yes pip

FROM ${PYTHON}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin omneo-import \
    && install -d -o omneo-import -m 0700 /state
COPY --from=build /opt/omneo-import /opt/omneo-import
ENV PATH=/opt/omneo-import/bin:$PATH PYTHONUNBUFFERED=1 OMNEO_IMPORT_WORKDIR=/state/omneo-import
USER 10001
VOLUME /state
ENTRYPOINT ["omneo-import"]
CMD ["--help"]
