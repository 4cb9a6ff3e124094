package web

import (
	"strings"

	"github.com/rankloop/rankloop/web/lang"
)

// What browsers and systems call themselves; the first that is found counts, since the later ones are claimed by the earlier too.
var (
	browserMarks = [][2]string{{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"}, {"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}, {"python", "Python"}, {"Go-http-client/", "Go"}}
	systemMarks = [][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"}}
)

var deviceWords = map[string]sentence{"both": "%s on %s", "none": "unknown device"}

// device says shortly what a session was opened with, from what the browser calls itself.
func device(l *lang.Language, agent string) string {
	find := func(marks [][2]string) string {
		for _, m := range marks {
			if strings.Contains(agent, m[0]) {
				return m[1]
			}
		}
		return ""
	}
	browser, system := find(browserMarks), find(systemMarks)
	switch {
	case browser != "" && system != "":
		return l.T(string(deviceWords["both"]), browser, system)
	case browser != "":
		return browser
	case system != "":
		return system
	}
	return l.T(string(deviceWords["none"]))
}
