{{/* Names of what the operator relies on are fixed: see docs/contracts.md. */}}
{{- define "modelyard-tenant.fullname" -}}
modelyard
{{- end }}

{{- define "modelyard-tenant.namespace" -}}
{{- if .Values.namespace.name }}{{ .Values.namespace.name }}
{{- else if .Values.namespace.create }}{{ .Values.tenant }}-{{ .Values.environment }}
{{- else }}{{ .Release.Namespace }}
{{- end }}
{{- end }}

{{/* Labels of everything in this chart. Call with (list . "component"). */}}
{{- define "modelyard-tenant.labels" -}}
{{- $root := first . }}
{{- include "modelyard-tenant.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: modelyard
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "modelyard-tenant.selectorLabels" -}}
app.kubernetes.io/name: {{ (first .).Chart.Name }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* Labels that make a namespace a tenant's. */}}
{{- define "modelyard-tenant.namespaceLabels" -}}
modelyard.dev/tenant: {{ .Values.tenant }}
modelyard.dev/environment: {{ .Values.environment }}
{{- range list "enforce" "audit" "warn" }}
pod-security.kubernetes.io/{{ . }}: {{ $.Values.namespace.podSecurity }}
{{- end }}
{{- end }}

{{- define "modelyard-tenant.image" -}}
{{- $image := .Values.images.operator }}
{{- with .Values.images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
