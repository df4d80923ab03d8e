// Package helm pins the Helm that the chart's tests render with.
//
// The import stands behind a build tag: it only ties the version in go.mod and
// go.sum to what tests/chart builds.
//go:build tools

package helm

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
