package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

const (
	masked = "***"
	// maxMessage is the maximum size of a message, which MCM stores in the status of the Machine.
	maxMessage = 4 << 10
	// minSecret is the minimum size of a secret that is masked: shorter ones occur by chance.
	minSecret = 4
	// minValue is the same for a value within JSON or YAML: user data is full of words such as "disk".
	minValue = 8
	// fragment is the minimum size of a part of a secret that is masked: a message may be cut, or quote a single line.
	fragment = 16
	// maxStructured is the maximum size of a secret that is searched for values in JSON or YAML.
	maxStructured = 64 << 10
	// projectID is the key, in the account of a service at Google, of a name that is in most messages about the account.
	projectID = "project_id"
	// surroundings are what stands around a name in JSON, YAML, shell scripts and paths.
	surroundings = " \t\r\n\"'\\:=,/"
	// maxLayers is the maximum number of nested encodings, as in percent-encoded base64 of JSON.
	maxLayers = 3
)

// mask returns a message without the secrets of its call, cut to the maximum size.
//
// A driver's SDK may have encoded the text that it quotes. So the message is decoded in every usual way, and a secret that
// appears in any decoding is masked in the original. This also finds a secret that was encoded together with other text,
// as in HTTP's basic authentication.
//
// User data contains names too, such as that of the machine, without which a message is of no use. So a part of the
// message is shown if all of it also stands in the clear, that is in one of the given texts, or is the ID of a project.
func mask(message string, secrets map[string][]byte, inClear ...string) string {
	if len(message) < minSecret {
		return message
	}
	// If this cuts a secret in the middle, the final cut removes that part.
	text := []byte(message[:min(len(message), 2*maxMessage)])
	hidden := make([]bool, len(text))
	views := decodings(text)
	fragments := map[[fragment]byte][]place{}
	// Most parts of a secret are not in the message, and the map takes long to say so.
	var begins [1 << 14]bool
	for _, view := range views {
		for i := range len(view.text) - fragment + 1 {
			key := [fragment]byte(view.text[i:])
			fragments[key] = append(fragments[key], place{view, i})
			begins[beginning(key)] = true
		}
	}
	confidential, names := values(secrets)
	for _, secret := range confidential {
		switch {
		case len(secret) < minSecret:
		case len(secret) < fragment:
			for _, view := range views {
				view.hide(secret, hidden)
			}
		default:
			for i := range len(secret) - fragment + 1 {
				key := [fragment]byte(secret[i:])
				if !begins[beginning(key)] {
					continue
				}
				if places, ok := fragments[key]; ok {
					for _, at := range places {
						at.view.hideRange(at.offset, at.offset+fragment, hidden)
					}
					delete(fragments, key) // a secret may repeat itself
				}
			}
		}
	}
	return cut(replace(text, hidden, append(names, inClear...)))
}

// beginning returns a hash, of 14 bits, of the first bytes of a fragment.
func beginning(key [fragment]byte) uint32 {
	return binary.LittleEndian.Uint32(key[:]) * 0x9E3779B1 >> 18
}

// values returns the secrets without surrounding white space, and the values within secrets that are JSON or YAML, such
// as a `private_key`. It also returns the names among these values.
func values(secrets map[string][]byte) (confidential [][]byte, names []string) {
	for _, secret := range secrets {
		confidential = append(confidential, bytes.TrimSpace(secret))
		var structure any
		if len(secret) <= maxStructured && yaml.Unmarshal(secret, &structure) == nil {
			visit("", structure, func(key, value string) {
				switch {
				case key == projectID:
					names = append(names, value)
				case len(value) >= minValue:
					confidential = append(confidential, []byte(value))
				}
			})
		}
	}
	return confidential, names
}

// visit calls a function with each string in a structure, and with the last key on the way to it.
func visit(key string, structure any, each func(key, value string)) {
	switch node := structure.(type) {
	case map[string]any:
		for key, value := range node {
			visit(key, value, each)
		}
	case []any:
		for _, value := range node {
			visit(key, value, each)
		}
	case string:
		each(key, node)
	}
}

// view is a decoding of a message. Its byte i comes from the bytes origin[i].from to origin[i].to of the message.
type view struct {
	text   []byte
	origin []span
}

type span struct{ from, to int }

// place is an offset in a view.
type place struct {
	view   *view
	offset int
}

func (v *view) hide(secret []byte, hidden []bool) {
	for start := 0; ; start++ {
		found := bytes.Index(v.text[start:], secret)
		if found < 0 {
			return
		}
		start += found
		v.hideRange(start, start+len(secret), hidden)
	}
}

func (v *view) hideRange(from, to int, hidden []bool) {
	for i := v.origin[from].from; i < v.origin[to-1].to; i++ {
		hidden[i] = true
	}
}

// decodings returns a text and all of its possible decodings.
func decodings(text []byte) []*view {
	plain := &view{text: text, origin: make([]span, len(text))}
	for i := range text {
		plain.origin[i] = span{i, i + 1}
	}
	all, last := []*view{plain}, []*view{plain}
	for range maxLayers {
		var next []*view
		for _, view := range last {
			for _, decoded := range view.decode() {
				if len(decoded.text) >= minSecret {
					next = append(next, decoded)
				}
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

var (
	// The forms of an escape: in URLs, in forms, where a plus is a space, in strings, and in HTML and XML.
	escapes = []*regexp.Regexp{
		regexp.MustCompile(`%[0-9A-Fa-f]{2}`),
		regexp.MustCompile(`%[0-9A-Fa-f]{2}|\+`),
		regexp.MustCompile(`\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[0-7]{3}|\\.`),
		regexp.MustCompile(`&#?[0-9A-Za-z]{2,8};`),
	}
	// Mail wraps base64 at 76 characters.
	base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-](?:[A-Za-z0-9+/_-]|\r?\n[ \t]*){4,}[A-Za-z0-9+/_-]`)
	wrapping  = regexp.MustCompile(`\s+`)
	hexRun    = regexp.MustCompile(`[0-9A-Fa-f]{8,}`)
	standard  = strings.NewReplacer("-", "+", "_", "/")
)

// decode removes one layer of encoding.
func (v *view) decode() []*view {
	var found []*view
	for _, pattern := range escapes {
		if pattern.Match(v.text) {
			found = append(found, v.unescape(pattern))
		}
	}
	for _, run := range base64Run.FindAllIndex(v.text, -1) {
		compact := v.slice(run[0], run[1]).without(wrapping)
		// The encoding may begin anywhere in a run, since other text may directly precede it.
		for skip := range min(4, len(compact.text)) {
			found = append(found, compact.slice(skip, len(compact.text)).fromBase64())
		}
	}
	for _, run := range hexRun.FindAllIndex(v.text, -1) {
		for skip := range 2 {
			found = append(found, v.slice(run[0]+skip, run[1]).fromHex())
		}
	}
	return found
}

func (v *view) slice(from, to int) *view {
	return &view{v.text[from:to], v.origin[from:to]}
}

// without returns the view without the matches.
func (v *view) without(pattern *regexp.Regexp) *view {
	kept, end := &view{}, 0
	for _, match := range append(pattern.FindAllIndex(v.text, -1), []int{len(v.text), len(v.text)}) {
		kept.text = append(kept.text, v.text[end:match[0]]...)
		kept.origin = append(kept.origin, v.origin[end:match[0]]...)
		end = match[1]
	}
	return kept
}

func (v *view) unescape(pattern *regexp.Regexp) *view {
	plain, end := &view{}, 0
	for _, match := range append(pattern.FindAllIndex(v.text, -1), []int{len(v.text), len(v.text)}) {
		plain.text = append(plain.text, v.text[end:match[0]]...)
		plain.origin = append(plain.origin, v.origin[end:match[0]]...)
		for _, char := range []byte(unescapeOne(string(v.text[match[0]:match[1]]))) {
			plain.text = append(plain.text, char)
			plain.origin = append(plain.origin, span{v.origin[match[0]].from, v.origin[match[1]-1].to})
		}
		end = match[1]
	}
	return plain
}

func unescapeOne(text string) string {
	switch {
	case text == "":
		return ""
	case text[0] == '%', text[0] == '+':
		plain, _ := url.QueryUnescape(text)
		return plain
	case text[0] == '&':
		return html.UnescapeString(text)
	}
	if plain, err := strconv.Unquote(`"` + text + `"`); err == nil {
		return plain
	}
	return text[1:] // such as \/ and \'
}

// fromBase64 returns a decoding of standard and of URL-safe base64, as far as it goes.
func (v *view) fromBase64() *view {
	decoded := &view{}
	for at := 0; at+2 <= len(v.text); at += 4 {
		group := v.text[at:min(at+4, len(v.text))]
		plain, err := base64.RawStdEncoding.DecodeString(standard.Replace(string(group)))
		if err != nil {
			break
		}
		for range plain {
			decoded.origin = append(decoded.origin, span{v.origin[at].from, v.origin[at+len(group)-1].to})
		}
		decoded.text = append(decoded.text, plain...)
	}
	return decoded
}

func (v *view) fromHex() *view {
	length := len(v.text) / 2 * 2
	decoded := &view{text: make([]byte, length/2)}
	_, _ = hex.Decode(decoded.text, v.text[:length]) // a run contains only hexadecimal digits
	for at := 0; at < length; at += 2 {
		decoded.origin = append(decoded.origin, span{v.origin[at].from, v.origin[at+1].to})
	}
	return decoded
}

// replace returns a text with three asterisks in place of each hidden part, except of those that are clear.
func replace(text []byte, hidden []bool, inClear []string) string {
	var shown strings.Builder
	for from, to := 0, 0; from < len(text); from = to {
		for to = from; to < len(text) && hidden[to] == hidden[from]; {
			to++
		}
		part := string(text[from:to])
		if hidden[from] && !isClear(part, inClear) {
			part = masked
		}
		shown.WriteString(part)
	}
	return shown.String()
}

// isClear returns whether a part of a message is one whole name, or several, of a clear text. The part may contain what
// surrounds the name in the message and in the secret, such as quotes. A short name may be a secret by chance.
func isClear(part string, inClear []string) bool {
	name := strings.Trim(part, surroundings)
	return len(name) >= minValue && slices.ContainsFunc(inClear, func(text string) bool { return hasName(text, name) })
}

// hasName returns whether a text contains a name that is not a part of a longer one.
func hasName(text, name string) bool {
	for start := 0; ; start++ {
		found := strings.Index(text[start:], name)
		if found < 0 {
			return false
		}
		start += found
		if !isInName(text, start-1) && !isInName(text, start+len(name)) {
			return true
		}
	}
}

// isInName returns whether a text has a character of a name at an offset.
func isInName(text string, at int) bool {
	if at < 0 || at >= len(text) {
		return false
	}
	char := text[at]
	return char >= utf8.RuneSelf || char == '-' || char == '_' || '0' <= char && char <= '9' ||
		'A' <= char && char <= 'Z' || 'a' <= char && char <= 'z'
}

// cut returns a text of at most maxMessage bytes, in whole characters.
func cut(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (cut at %d bytes)", text[:end], maxMessage)
}
