// Command etcd is the pinned etcd server that the lab builds: the project's own main, and nothing else.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
