package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLoadProviders: the settings and the secrets that they point to; what is wrong is named.
func TestLoadProviders(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("work.secret", "s3cret\n")
	t.Setenv("TEST_OIDC_SECRET", "from the environment")
	list, err := loadProviders(t.Context(), write("good.json", `[{"name":"work","title":"Work","issuer":"https://id.example.com","client_id":"c","client_secret_file":"work.secret"},
		{"name":"other","issuer":"https://other.example.com","client_id":"c","client_secret_env":"TEST_OIDC_SECRET","create":true,"domains":["*"],"role":"customer"}]`))
	if err != nil || len(list) != 2 || list[0].ClientSecret != "s3cret" || list[1].ClientSecret != "from the environment" || list[1].Title != "other" {
		t.Fatalf("%+v %v", list, err)
	}
	if list, err := loadProviders(t.Context(), ""); err != nil || list != nil {
		t.Error(list, err)
	}
	const base = `"name":"work","issuer":"https://id.example.com","client_id":"c"`
	for text, want := range map[string]string{
		`{}`: "", `[{` + base + `,"unknown":1}]`: "unknown", `[{` + base + `,"role":"owner"}]`: "role must be one of", `[{` + base + `},{` + base + `}]`: "two providers",
		`[{` + base + `,"client_secret_file":"none"}]`: "client_secret_file", `[{` + base + `,"client_secret_env":"TEST_OIDC_NOTHING"}]`: "is not set", `[{"name":"work","issuer":"http://id.example.com","client_id":"c"}]`: "issuer",
	} {
		if _, err := loadProviders(t.Context(), write("bad.json", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a secret is told: %v", err)
		}
	}
}
