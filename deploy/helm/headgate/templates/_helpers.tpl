{{- define "headgate.labels" -}}
{{- if gt (len .Release.Name) 48 }}
{{- fail "the name of the release is too long for its Services: 48 characters at most" }}
{{- end -}}
app.kubernetes.io/part-of: headgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "headgate.tag" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "headgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "headgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "headgate.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* How the picker is asked: mutual, server or none. */}}
{{- define "headgate.pickerTls" -}}
{{- $open := or .Values.picker.pool .Values.networkPolicies.pickerClients -}}
{{- $said := .Values.picker.tls | default (ternary "server" "mutual" (not (empty $open))) -}}
{{- if and .Values.picker.pool (eq $said "mutual") -}}
{{- fail "picker.tls=mutual needs controllers, which a release with picker.pool has not: take server or none" -}}
{{- end -}}
{{- $said -}}
{{- end }}

{{- /* Not empty: the picker has a certificate, which the controllers put into a Secret. */}}
{{- define "headgate.hasPickerSecret" -}}
{{- if and .Values.picker.enabled (not .Values.picker.pool) (ne (include "headgate.pickerTls" .) "none") }}yes{{ end }}
{{- end }}

{{- /* What the controller may do with objects in namespaces. */}}
{{- define "headgate.controllerRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, httproutes, grpcroutes, listenersets, backendtlspolicies]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways/status, httproutes/status, grpcroutes/status, listenersets/status, backendtlspolicies/status]
  verbs: [patch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools/status]
  verbs: [patch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencepools, inferencepoolimports, inferencemodels, inferencemodelrewrites, inferenceobjectives]
  verbs: [get, list, watch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencepools/status, inferencepoolimports/status, inferencemodels/status, inferencemodelrewrites/status, inferenceobjectives/status]
  verbs: [patch]
- apiGroups: [llm-d.ai]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [get, list, watch]
- apiGroups: [llm-d.ai]
  resources: [inferenceobjectives/status, inferencemodelrewrites/status]
  verbs: [patch]
- apiGroups: [headgate.dev]
  resources: [accesspolicies, backendauthpolicies, flowpolicies]
  verbs: [get, list, watch]
- apiGroups: [headgate.dev]
  resources: [modelservers, gatewayparameters]
  verbs: [list, watch]
- apiGroups: [headgate.dev]
  resources: [accesspolicies/status, backendauthpolicies/status, flowpolicies/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# What runs a Gateway's Envoy; Secrets and ConfigMaps also where objects name them.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
{{- end }}

{{- /* What the picker may do with objects in namespaces. */}}
{{- define "headgate.pickerRules" -}}
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [list, watch]
- apiGroups: [inference.networking.x-k8s.io]
  resources: [inferencepools, inferencemodels, inferencemodelrewrites, inferenceobjectives]
  verbs: [list, watch]
- apiGroups: [llm-d.ai]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [list, watch]
- apiGroups: [headgate.dev]
  resources: [modelservers, flowpolicies]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods, services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- if has "--ha-enable-leader-election" .Values.picker.extraArgs }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
{{- end }}
{{- if .Values.picker.readSecrets }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
{{- end }}
{{- end }}
