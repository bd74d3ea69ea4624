#!/bin/sh
# Post-renderer for Helm: adds the sidecar to what a chart renders. Its arguments are options of `sts-broker inject`.
exec sts-broker inject -f - "$@"
