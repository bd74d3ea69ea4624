# The broker's image: Python, its standard library less what a service never imports, the locked wheels, and nothing
# else. No shell, no pip, no package manager; the layout and its reasons are in image/assemble.py. What is in it, it says
# itself: /usr/share/sbom/sts-federation-broker.cdx.json (image/sbom.py).
#
#   make image          (buildah; or: docker buildx build, podman build)
#
# Build arguments and inputs, all optional:
#   --build-arg PYTHON_IMAGE=NAME     base of the build stage, Debian-based with Python 3.11 or newer in /usr/local; give
#                                     NAME@sha256:... to pin it. Only its Python, C library and OpenSSL get into the image
#   --build-arg VERSION=X.Y.Z         version for the label; the build fails where the package has another
#   --build-arg SOURCE_DATE_EPOCH=N   age of every file. The same inputs give the same files; for the same image, digest
#                                     and all, tell the builder too: buildah bud --timestamp N, or
#                                     docker buildx build --output type=...,rewrite-timestamp=true
# Without the network, from a folder of wheels (pip download -r requirements/runtime.txt, and for the build also
# hatchling and its own dependencies, as requirements/dev.txt pins them):
#   --build-context wheels=DIR --build-arg PIP_NO_INDEX=1
# From an internal registry: its address, and credentials if it has any, in a pip.conf; its CA, if it has one of its own,
# as a file that the pip.conf names as `cert = /run/secrets/ca.crt`. No layer keeps either:
#   --secret id=pip.conf,src=FILE --secret id=ca.crt,src=FILE
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

# Empty, and what --build-context wheels=DIR stands in for.
FROM scratch AS wheels

FROM ${PYTHON_IMAGE} AS build
ARG PIP_NO_INDEX
# hatchling's own default; like the hash seed, for the same bytes every time.
ARG SOURCE_DATE_EPOCH=1580601600
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_FIND_LINKS=/wheels \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
WORKDIR /build

COPY requirements/ requirements/
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    pip install --no-compile --require-hashes --target /site --requirement requirements/runtime.txt
# The build back-end and its dependencies, at the locked versions and hashes; pip refuses the list if it is incomplete.
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' \
        requirements/dev.txt > requirements/backend.txt \
    && pip install --require-hashes --requirement requirements/backend.txt
COPY image/ image/
RUN python image/reduce_botocore.py /site/botocore/data

COPY pyproject.toml README.md LICENSE ./
COPY broker/ broker/
COPY iam-policies/ iam-policies/
ARG VERSION
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && if [ -n "${VERSION}" ]; then ls "/dist/sts_federation_broker-${VERSION}-py3-none-any.whl"; fi \
    && pip install --no-compile --no-index --no-deps --target /site /dist/*.whl \
    && python -m image.assemble /rootfs /site \
    && install --directory --mode=0755 /rootfs/var/run \
    && install --directory --mode=0770 /publish/aws \
    && touch --date="@${SOURCE_DATE_EPOCH}" /rootfs/var/run /rootfs/var /publish /publish/aws

FROM scratch
ARG VERSION=unknown
LABEL org.opencontainers.image.title="STS federation broker" \
      org.opencontainers.image.description="Exchanges a pod's bound service account token at AWS STS, publishes temporary credentials, keeps them fresh." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /rootfs/ /
# /var/run/aws, for a run without a volume. In a pod a memory-backed emptyDir covers it: so no VOLUME, which would put
# credentials on the node's disk. Group 0, since OpenShift gives a container any user but always that group.
COPY --from=build --chown=65532:0 /publish/ /var/run/
# The launcher isolates Python by itself (-I); the PYTHON variables are for who starts `python -m broker` instead.
ENV LANG=C.UTF-8 \
    PATH=/usr/local/bin \
    PYTHONNOUSERSITE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sts-broker"]
CMD ["run"]
