// Package kube pins the Kubernetes programs that the lab builds from Go modules.
//
// The imports stand behind a build tag: they only tie the versions in go.mod
// and go.sum to what tests/lab/toolchain.py builds.
//go:build tools

package kube

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
