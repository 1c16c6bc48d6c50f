package polsettest

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// FlipPackByte inverts one byte of the packfile that a fetch is answered
// with: at offset, or from its end where offset is negative (-1 is the last
// byte of its checksum). Put it on IsFetch.
func FlipPackByte(offset int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		answer := capture(r, next)
		pack := packBytes(answer.body.Bytes())
		at := offset
		if at < 0 {
			at += len(pack)
		}
		if at >= 0 && at < len(pack) {
			*pack[at] ^= 0xff
		}
		answer.header(w)
		_, _ = w.Write(answer.body.Bytes())
		return true
	}
}

// packBytes finds the bytes of the packfile among the pkt-lines of an answer:
// in band 1, or bare at the end where no sideband was agreed.
func packBytes(answer []byte) []*byte {
	var pack []*byte
	for len(answer) >= 4 {
		if bytes.HasPrefix(answer, []byte("PACK")) {
			for i := range answer {
				pack = append(pack, &answer[i])
			}
			return pack
		}
		size, err := strconv.ParseUint(string(answer[:4]), 16, 16)
		if err != nil || int(size) > len(answer) {
			return pack
		}
		if size < 4 { // flush, delimiter, end of response
			answer = answer[4:]
			continue
		}
		if line := answer[4:size]; len(line) > 0 && line[0] == 1 {
			for i := range line[1:] {
				pack = append(pack, &line[1+i])
			}
		}
		answer = answer[size:]
	}
	return pack
}

// ServePack answers every fetch with these bytes as the packfile, whatever
// was asked for. Put it on IsFetch.
func ServePack(pack []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		packHeader(w, r)
		for part := range slices.Chunk(pack, maxBand) {
			if _, err := w.Write(band(1, part)); err != nil {
				return true
			}
		}
		_, _ = io.WriteString(w, "0000")
		return true
	}
}

// EndlessSideband answers a fetch with progress messages without end.
func EndlessSideband() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		packHeader(w, r)
		endless(w, r, bytes.Repeat(band(2, []byte("Counting objects: 99% (1/1)\r")), 1000))
		return true
	}
}

// EndlessPack answers a fetch with a packfile without end, which declares the
// largest number of objects and whose first is a blob of 2 GiB.
func EndlessPack() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		packHeader(w, r)
		_, _ = w.Write(band(1, []byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff"+
			"\xb0\x80\x80\x80\x40\x78\x01")))
		// Stored deflate blocks of 65,519 zeros: no compression helps the reader.
		block := append([]byte{0x00, 0xef, 0xff, 0x10, 0x00}, make([]byte, 0xffef)...)
		var chunk []byte
		for part := range slices.Chunk(block, maxBand) {
			chunk = append(chunk, band(1, part)...)
		}
		endless(w, r, chunk)
		return true
	}
}

// maxBand is the most that one sideband packet carries.
const maxBand = 65515

func band(number byte, data []byte) []byte {
	return []byte(pktLine(string(rune(number)) + string(data)))
}

// packHeader writes what comes before the packfile in the client's protocol.
func packHeader(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	gitHeader(w, "application/x-git-upload-pack-result")
	w.WriteHeader(http.StatusOK)
	if strings.Contains(r.Header.Get("Git-Protocol"), "version=2") {
		_, _ = io.WriteString(w, pktLine("packfile\n"))
		return
	}
	_, _ = io.WriteString(w, pktLine("NAK\n"))
}
