// Go's renameio.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio"
)

func main() {
	in := bufio.NewReader(os.Stdin)
	for {
		var operation, argument string
		var count int
		if _, err := fmt.Fscan(in, &operation, &argument, &count); err != nil {
			return
		}
		if operation != "replace" {
			fmt.Println("-")
			continue
		}
		var size int
		fmt.Sscan(argument, &size)
		content := bytes.Repeat([]byte("x"), size)
		begin := time.Now()
		for i := 0; i < count; i++ {
			if err := renameio.WriteFile(filepath.Join(os.Args[1], "replaced"), content, 0o666); err != nil {
				panic(err)
			}
		}
		fmt.Println(time.Since(begin).Nanoseconds())
	}
}
