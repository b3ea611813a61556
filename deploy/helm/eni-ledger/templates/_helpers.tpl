{{/* The name of everything. One installation a cluster: two masters never act at once. */}}
{{- define "eni-ledger.name" -}}
{{- default "eni-ledger" .Values.nameOverride -}}
{{- end -}}

{{- define "eni-ledger.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "eni-ledger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* (dict "root" $ "process" name) */}}
{{- define "eni-ledger.selector" -}}
app.kubernetes.io/name: {{ include "eni-ledger.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .process }}
{{- end -}}

{{- define "eni-ledger.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- if $image.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" $image.registry) $name }}{{ end -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $name $image.digest }}
{{- else -}}
{{ printf "%s:%s" $name (default .Chart.AppVersion $image.tag) }}
{{- end -}}
{{- end -}}

{{/* The settings file: the user's, and over it what follows from other values. No secret is in it. */}}
{{- define "eni-ledger.settings" -}}
{{- $ours := dict "webhook" (dict
      "name" .Values.webhook.name
      "service_name" (printf "%s-webhook" (include "eni-ledger.name" .))
      "service_namespace" .Release.Namespace
      "failure_policy" .Values.webhook.failurePolicy
      "excluded_namespaces" (append .Values.webhook.excludedNamespaces .Release.Namespace | uniq | sortAlpha)) -}}
{{- if .Values.kafka.ca.secret -}}
{{- $_ := set $ours "kafka" (dict "ssl_cafile" "/etc/eni-ledger/kafka-ca/ca.crt") -}}
{{- end -}}
{{- if eq .Values.credentials.type "tokenFile" -}}
{{- $_ := set $ours "cloud" (dict "credential_path" "/var/addon/token-config") -}}
{{- end -}}
{{- $_ := set $ours "console" (dict "authentication" .Values.console.authentication) -}}
{{- $all := mergeOverwrite (deepCopy .Values.settings) $ours -}}
{{- /* How calls are signed is said by credentials.type: the incumbent's file may say it, too, and would be
       believed where nothing is said here. */ -}}
{{- if and .Values.incumbent.configMap.name (ne .Values.credentials.type "incumbent") -}}
{{- range $name := list "credential_path" "access_key_id" "access_key_secret" -}}
{{- if not (hasKey $all.cloud $name) }}{{ $_ := set $all.cloud $name nil }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* RBAC subjects as values give them, a line each. */}}
{{- define "eni-ledger.subjects" -}}
{{- range . }}
- {{ toYaml (merge (dict) . (ternary (dict) (dict "apiGroup" "rbac.authorization.k8s.io") (eq (default "" .kind) "ServiceAccount"))) | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{/* What contradicts itself is refused here; what a schema can say is in values.schema.json. */}}
{{- define "eni-ledger.check" -}}
{{- $credentials := .Values.credentials -}}
{{- if .Values.reconciler.enabled -}}
{{- if and (eq $credentials.type "rrsa") (not (and $credentials.rrsa.roleArn $credentials.rrsa.oidcProviderArn)) -}}
{{- fail "credentials.rrsa.roleArn and credentials.rrsa.oidcProviderArn are empty: set both (deploy/howto/credentials.md), or another credentials.type" -}}
{{- end -}}
{{- if and (eq $credentials.type "accessKey") (not $credentials.accessKey.secret) -}}
{{- fail "credentials.accessKey.secret is empty: name the Secret that holds the key pair" -}}
{{- end -}}
{{- if and (eq $credentials.type "incumbent") (not .Values.incumbent.secret.name) -}}
{{- fail "incumbent.secret.name is empty: name the Secret that holds the incumbent's ctrl-secret.yaml, or set another credentials.type" -}}
{{- end -}}
{{- if and (eq $credentials.type "tokenFile") (ne .Release.Namespace "kube-system") -}}
{{- fail (printf "credentials.type tokenFile: Secret %s is in kube-system and can be mounted there alone: install with --namespace kube-system, or use rrsa" $credentials.tokenFile.secret) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.incumbent.secret.name (ne $credentials.type "incumbent") -}}
{{- fail (printf "incumbent.secret.name is set, and credentials.type is %s: set it to incumbent to sign with the incumbent's key, or leave the name empty" $credentials.type) -}}
{{- end -}}
{{- if and .Values.console.enabled (eq .Values.console.authentication "tokens") (not .Values.console.tokens.secret) -}}
{{- fail "console.tokens.secret is empty: name the Secret that holds the tokens, or set console.authentication to kubernetes" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.enabled: nothing else listens where Prometheus is" -}}
{{- end -}}
{{- if and .Values.kafka.strimzi.enabled (not .Values.kafka.strimzi.cluster) -}}
{{- fail "kafka.strimzi.cluster is empty: name the Kafka resource that the topics belong to" -}}
{{- end -}}
{{- $sasl := hasPrefix "SASL" (default "PLAINTEXT" .Values.settings.kafka.security_protocol) -}}
{{- range $process := list "watcher" "intake" -}}
{{- if and $sasl (not (get $.Values.kafka.users $process).password.secret) -}}
{{- fail (printf "kafka.users.%s.password.secret is empty: settings.kafka.security_protocol asks for a password; name its Secret" $process) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.kafka.strimzi.minInSyncReplicas) (int .Values.kafka.strimzi.replicas) -}}
{{- fail "kafka.strimzi.minInSyncReplicas is more than kafka.strimzi.replicas: nothing could ever be written" -}}
{{- end -}}
{{- if and .Values.settings.shadow .Values.webhook.enabled -}}
{{- fail "settings.shadow: a shadow registers no webhook, and its API server would wait for one: set webhook.enabled to false" -}}
{{- end -}}
{{- $ports := dict -}}
{{- range $process := list "watcher" "intake" "reconciler" "webhook" "console" -}}
{{- $values := get $.Values $process -}}
{{- if and $values.enabled $values.hostNetwork -}}
{{- range $name := list "httpPort" "port" -}}
{{- with get $values $name -}}
{{- $port := toString (int .) -}}
{{- if hasKey $ports $port -}}
{{- fail (printf "%s.%s and %s are both %s: on the host network they may meet on a node" $process $name (get $ports $port) $port) -}}
{{- end -}}
{{- $_ := set $ports $port (printf "%s.%s" $process $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
