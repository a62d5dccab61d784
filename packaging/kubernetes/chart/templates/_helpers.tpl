{{- define "ghostport.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of everything: the release's, with the chart's where that is not part of it. */}}
{{- define "ghostport.fullname" -}}
{{- $name := include "ghostport.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ghostport.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ghostport.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ghostport.labels" -}}
{{ include "ghostport.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ghostport.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "ghostport.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ghostport.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The Secret with web.yml; empty if the server has neither TLS nor passwords. */}}
{{- define "ghostport.webSecret" -}}
{{- if .Values.web.configSecret }}
{{- .Values.web.configSecret }}
{{- else if .Values.web.config }}
{{- printf "%s-web" (include "ghostport.fullname" .) }}
{{- end }}
{{- end }}

{{/* The addresses to listen on, as JSON. 127.0.0.1 is one of them, for the probes. */}}
{{- define "ghostport.listen" -}}
{{- $port := int .Values.web.port }}
{{- $addresses := list }}
{{- if has "all" .Values.web.addresses }}
{{- if not (or (include "ghostport.webSecret" .) .Values.web.allowUnauthenticated) }}
{{- fail "web.addresses has `all`: every host that reaches a node could read its metrics. Name web.configSecret, with passwords or a demand for certificates; or listen on `node`; or set web.allowUnauthenticated" }}
{{- end }}
{{- $addresses = list (printf ":%d" $port) }}
{{- else }}
{{- $addresses = list (printf "127.0.0.1:%d" $port) }}
{{- range .Values.web.addresses }}
{{- if eq . "node" }}
{{- $addresses = append $addresses (printf (ternary "[$(HOST_IP)]:%d" "$(HOST_IP):%d" $.Values.web.ipv6) $port) }}
{{- else }}
{{- $addresses = append $addresses (printf (ternary "[%s]:%d" "%s:%d" (contains ":" .)) . $port) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $addresses }}
{{- end }}

{{/* Refuses a monitor that would scrape nothing. */}}
{{- define "ghostport.scrapable" -}}
{{- if not .Values.web.addresses }}
{{- fail "agents that listen on 127.0.0.1 alone cannot be scraped: add `node` to web.addresses" }}
{{- end }}
{{- end }}

{{/* ghostport.yaml. Headers of sinks come from Secrets that are mounted. */}}
{{- define "ghostport.config" -}}
{{- $sinks := list }}
{{- range .Values.sinks }}
{{- $sink := omit . "headersSecret" }}
{{- with .headersSecret }}
{{- $sink = merge (dict "headers_file" (printf "/etc/ghostport-secrets/%s/%s" .name .key)) $sink }}
{{- end }}
{{- $sinks = append $sinks $sink }}
{{- end }}
{{- $config := merge (dict "ports" .Values.ports "sinks" $sinks) .Values.config }}
{{- with .Values.interfaces }}{{- $_ := set $config "interfaces" . }}{{- end }}
{{- with .Values.listeners }}{{- $_ := set $config "listeners" . }}{{- end }}
{{- $web := dict "details" .Values.web.details }}
{{- if include "ghostport.webSecret" . }}
{{- $_ := set $web "config_file" "/etc/ghostport-web/web.yml" }}
{{- end }}
{{- $_ := set $config "web" $web }}
{{- toYaml $config }}
{{- end }}

{{/* The Secrets with headers of sinks, each once, as JSON. */}}
{{- define "ghostport.headerSecrets" -}}
{{- $names := list }}
{{- range .Values.sinks }}{{- with .headersSecret }}{{- $names = append $names .name }}{{- end }}{{- end }}
{{- $names | uniq | toJson }}
{{- end }}

{{/* On which nodes: of the architectures that the image has. */}}
{{- define "ghostport.affinity" -}}
{{- $terms := list (dict "matchExpressions" (list (dict "key" "kubernetes.io/arch" "operator" "In" "values" .Values.architectures))) }}
{{- $ours := dict "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms)) }}
{{- if dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" false .Values.affinity }}
{{- /* Terms are alternatives: one of ours beside one of the user's would take any node of either. */}}
{{- toYaml .Values.affinity }}
{{- else }}
{{- toYaml (merge (deepCopy .Values.affinity) $ours) }}
{{- end }}
{{- end }}
