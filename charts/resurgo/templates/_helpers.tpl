{{- define "resurgo.selector" -}}
app.kubernetes.io/name: resurgo
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "resurgo.labels" -}}
{{ include "resurgo.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The operator as the API server knows it. */}}
{{- define "resurgo.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "resurgo.subject" -}}
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "resurgo.image" -}}
{{- $repository := required "image.repository must be set: where the operator's image lies" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
