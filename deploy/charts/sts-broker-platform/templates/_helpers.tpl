{{/* The labels of every object. */}}
{{- define "sts-broker-platform.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The full name of the image. */}}
{{- define "sts-broker-platform.image" -}}
{{- if not .Values.image.registry -}}
{{- fail "image.registry is empty; the nodes would search for the image on the default registry of their runtime. Set it to your registry, for example: --set image.registry=registry.example/platform" -}}
{{- end -}}
{{- printf "%s/%s:%s" (trimSuffix "/" .Values.image.registry) .Values.image.name (default .Chart.AppVersion .Values.image.tag) -}}
{{- with .Values.image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{/* A text with every `old` replaced by `new`. A text without `old` is a fault of the chart: its files have changed. */}}
{{- define "sts-broker-platform.replace" -}}
{{- if not (contains .old .text) -}}
{{- fail (printf "the chart's files do not contain %q; its templates are out of date" .old) -}}
{{- end -}}
{{- replace .old .new .text -}}
{{- end }}

{{/* A text of the admission policies with the resources of the values. `pairs` lists the old and the new parts. */}}
{{- define "sts-broker-platform.replaceAll" -}}
{{- $text := .text -}}
{{- range .pairs -}}
{{- $text = include "sts-broker-platform.replace" (dict "text" $text "old" (index . 0) "new" (index . 1)) -}}
{{- end -}}
{{- $text -}}
{{- end }}
