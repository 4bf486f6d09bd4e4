// reverse.go - reverses texts, in Go; a panic ends at the border.
//
// Reads  text      what is reversed, character by character; "panic" fails
// Sets   reversed  the text from its end
package main

// #include "input.h"
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"unsafe"
)

func reversed(text string) string {
	runes := []rune(text)
	for i, j := 0, len(runes)-1; i < j; i, j = i+1, j-1 {
		runes[i], runes[j] = runes[j], runes[i]
	}
	return string(runes)
}

//export handleReverse
func handleReverse(_ unsafe.Pointer, call *C.struct_sluice_call) {
	defer func() {
		if panicked := recover(); panicked != nil {
			words := C.CString(fmt.Sprint(panicked))
			C.host_fault(call, words)
			C.free(unsafe.Pointer(words))
		}
	}()
	name := C.CString("reversed")
	defer C.free(unsafe.Pointer(name))
	for n, input := range unsafe.Slice((*C.struct_input)(call.inputs), call.count) {
		text := C.GoStringN(input.text.at, C.int(input.text.length))
		if text == "panic" {
			panic("a text asked for it")
		}
		value := reversed(text)
		bytes := C.CString(value)
		C.host_set_text(call, C.size_t(n), name, bytes, C.size_t(len(value)))
		C.free(unsafe.Pointer(bytes))
		C.host_outcome(call, C.size_t(n), 0)
	}
}

func main() {}
