//go:build tools

// Package tools pins the commands that dev/cluster builds.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
