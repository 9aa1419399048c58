//go:build tools

// Package tools pins the commands that dev/cluster builds.
package tools

import (
	_ "github.com/versity/versitygw/cmd/versitygw"
)
