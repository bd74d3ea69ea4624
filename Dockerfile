# Two images from one tree. Each contains Python, the part of its standard library that a service uses, the locked wheels,
# and nothing else: no shell, no pip, no package manager. image/assemble.py lays out the files and gives the reasons.
#
#   sidecar    sts-federation-broker           runs next to an app in its pod. The default target.     make image
#   operator   sts-federation-broker-operator  `trust`, `issuer` and `inject` for pipelines.           make image-operator
#
# Both carry a bill of materials in /usr/share/sbom (image/sbom.py). Builders: buildah, docker buildx, podman build.
#
# Build arguments and inputs, all optional:
#   --build-arg PYTHON_IMAGE=NAME     Base of the build stages: Debian-based, Python 3.11 or newer in /usr/local. To pin it,
#                                     give NAME@sha256:... (CONTRIBUTING.md, "Base image"). Its Python, C library and OpenSSL are copied into the image.
#   --build-arg VERSION=X.Y.Z         Version for the label. The build fails if the package has another version.
#   --build-arg SOURCE_DATE_EPOCH=N   Modification time of every file. The same inputs give the same files. For the same
#                                     image digest, pass the time to the builder as well: buildah bud --timestamp N, or
#                                     docker buildx build --output type=...,rewrite-timestamp=true
# To build without network access, first download the wheels:
#   pip download --no-deps --require-hashes -r requirements/operator.txt -r requirements/build.txt --dest DIR
# then pass --build-context wheels=DIR --build-arg PIP_NO_INDEX=1
# To use an internal registry, put its address, credentials and CA path (cert = /run/secrets/ca.crt) into a pip.conf.
# No layer keeps either file:
#   --secret id=pip.conf,src=FILE --secret id=ca.crt,src=FILE
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

# Empty. `--build-context wheels=DIR` replaces it.
FROM scratch AS wheels

# What both images need: pip's settings and the broker's own wheel.
FROM ${PYTHON_IMAGE} AS wheel
ARG PIP_NO_INDEX
# The default is hatchling's own. The fixed time and the fixed hash seed make builds reproducible.
ARG SOURCE_DATE_EPOCH=1580601600
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_FIND_LINKS=/wheels \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INDEX=${PIP_NO_INDEX} \
    PIP_ONLY_BINARY=:all: \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0 \
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
WORKDIR /build
COPY requirements/ requirements/
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    pip install --require-hashes --no-deps --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY broker/ broker/
COPY iam-policies/ iam-policies/
COPY share/ share/
ARG VERSION
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && if [ -n "${VERSION}" ]; then ls "/dist/sts_federation_broker-${VERSION}-py3-none-any.whl"; fi
COPY image/ image/

FROM wheel AS operator-files
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    pip install --no-compile --require-hashes --no-deps --target /site --requirement requirements/operator.txt
RUN pip install --no-compile --no-index --no-deps --target /site /dist/*.whl \
    && python -m image.assemble operator /rootfs /site

FROM scratch AS operator
ARG VERSION=unknown
LABEL org.opencontainers.image.title="STS federation broker, operator tools" \
      org.opencontainers.image.description="Checks trust policies and OIDC issuers, and adds the broker's sidecar to Kubernetes manifests." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=operator-files /rootfs/ /
# The launcher starts Python in isolated mode (-I). The PYTHON variables are for `python -m broker`.
ENV LANG=C.UTF-8 \
    PATH=/usr/local/bin \
    PYTHONNOUSERSITE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/sts-broker"]
CMD ["--help"]

FROM wheel AS sidecar-files
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt \
    pip install --no-compile --require-hashes --no-deps --target /site --requirement requirements/runtime.txt
RUN python image/reduce_botocore.py /site/botocore/data \
    && pip install --no-compile --no-index --no-deps --target /site /dist/*.whl \
    && python -m image.assemble sidecar /rootfs /site \
    && install --directory --mode=0755 /rootfs/var/run \
    && install --directory --mode=0770 /publish/aws \
    && touch --date="@${SOURCE_DATE_EPOCH}" /rootfs/var/run /rootfs/var /publish /publish/aws

FROM scratch AS sidecar
ARG VERSION=unknown
LABEL org.opencontainers.image.title="STS federation broker" \
      org.opencontainers.image.description="Exchanges a pod's bound service account token at AWS STS, publishes temporary credentials, keeps them fresh." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=sidecar-files /rootfs/ /
# /var/run/aws is for a run without a volume. In a pod, a memory-backed emptyDir covers it. There is no VOLUME, because that
# would store credentials on the node's disk. The group is 0, because OpenShift runs containers as any user in group 0.
COPY --from=sidecar-files --chown=65532:0 /publish/ /var/run/
# The launcher starts Python in isolated mode (-I). The PYTHON variables are for `python -m broker`.
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
