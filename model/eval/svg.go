package eval

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"strings"
)

// Pictures are SVG with presentation attributes only, text in the colour of what surrounds it (currentColor) and mid-tone
// series, so that they can be put into any page under a strict policy and read on light and dark ground alike.

// palette is told apart with any colour vision (after Okabe and Ito), darkened or lightened so that each colour stands out
// against white and against near-black; marks differ in shape too.
var palette = []string{"#2f7fd1", "#c96a00", "#14906a", "#c0589f", "#7d7a10"}

const fontFamily = `font-family="system-ui, sans-serif"`

// svg collects elements.
type svg struct{ strings.Builder }

// el writes an element without content. args fill attributes.
func (s *svg) el(format string, args ...any) { fmt.Fprintf(s, "<"+format+"/>\n", args...) }

// text writes text at (x, y). attributes may be empty.
func (s *svg) text(x, y float64, size float64, attributes, text string) {
	fmt.Fprintf(s, `<text x="%s" y="%s" font-size="%s" fill="currentColor" %s>%s</text>`+"\n", num(x), num(y), num(size), attributes, html.EscapeString(text))
}

// num is a coordinate, short.
func num(x float64) string {
	s := fmt.Sprintf("%.2f", x)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Figure wraps the elements of an SVG image, with a description for those who cannot see it. width and height are in pixels; colours are
// presentation attributes, currentColor for ink.
func Figure(width, height float64, label, body string) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-label="%s" %s>`+"\n%s</svg>\n",
		num(width), num(height), num(width), num(height), html.EscapeString(label), fontFamily, body)
}

// alone makes an image a file of its own: with the colours that a page would have given it.
func alone(image string) string {
	const style = "<style>svg{color:#1b2330;background:#fff}@media(prefers-color-scheme:dark){svg{color:#e4e9f0;background:#15191f}}</style>\n"
	at := strings.Index(image, ">") + 1
	return image[:at] + "\n" + style + image[at:]
}

// Page is an HTML file that needs nothing else: no script, one style sheet, ours and style, that the policy names by its digest. body
// is HTML, title is not.
func Page(title, style, body string) string {
	style = baseStyle + style
	digest := sha256.Sum256([]byte(style))
	return fmt.Sprintf(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>%s</style>
</head>
<body>
%s</body>
</html>
`, base64.StdEncoding.EncodeToString(digest[:]), html.EscapeString(title), style, body)
}

const baseStyle = `
:root{color-scheme:light dark;--bg:#fff;--ink:#1b2330;--muted:#586374;--line:#dce0e7;--soft:#eef0f4}
@media(prefers-color-scheme:dark){:root{--bg:#15191f;--ink:#e4e9f0;--muted:#9aa6b6;--line:#2a333f;--soft:#1d232c}}
body{margin:1rem auto;padding:0 1rem;max-width:76rem;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
.quiet{color:var(--muted)}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap;font-variant-numeric:tabular-nums}
thead th{background:var(--soft)}
svg{max-width:100%;height:auto}
a{color:inherit}
:focus-visible{outline:3px solid #2f7fd1;outline-offset:2px}
`
