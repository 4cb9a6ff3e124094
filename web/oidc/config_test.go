package oidc

import (
	"encoding/json"
	"strings"
	"testing"
)

var roles = []string{"labeler", "reviewer", "admin"}

func TestValidate(t *testing.T) {
	good := Config{Name: "work", Issuer: "https://id.example.com/realms/x", ClientID: "c", Create: true, Domains: []string{"example.com"}, RoleClaim: "groups", RoleOfValue: []Mapped{{"a", "admin"}}}
	if err := good.WithDefaults().Validate(roles); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"name":                 func(c *Config) { c.Name = "Work/.." },
		"issuer must be":       func(c *Config) { c.Issuer = "http://id.example.com" },
		"issuer must have":     func(c *Config) { c.Issuer = "https://id.example.com?x=1" },
		"client_id":            func(c *Config) { c.ClientID = "" },
		"client_secret":        func(c *Config) { c.SecretEnv, c.SecretFile = "A", "b" },
		"scopes":               func(c *Config) { c.Scopes = []string{"email"} },
		"domains":              func(c *Config) { c.Domains = nil },
		"role must":            func(c *Config) { c.Role = "owner" },
		"role_claim":           func(c *Config) { c.RoleClaim = "" },
		`roles must give each`: func(c *Config) { c.RoleOfValue = []Mapped{{"a", "owner"}} },
	} {
		c := good
		change(&c)
		if err := c.WithDefaults().Validate(roles); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestClaims(t *testing.T) {
	c := Config{Create: true, Domains: []string{"Example.com"}, Role: "labeler"}
	for email, want := range map[string]bool{"a@example.com": true, "a@EXAMPLE.com": true, "a@sub.example.com": false, "a@example.com.evil": false, "example.com": false, "": false} {
		if c.Allows(email) != want {
			t.Errorf("%s: %v", email, !want)
		}
	}
	if c.Create = false; c.Allows("a@example.com") {
		t.Error("an account is made where none may be")
	}
	if role, mapped := c.RoleOf(map[string]any{"groups": "leads"}); role != "labeler" || mapped {
		t.Error(role, mapped)
	}
	for _, x := range []struct{ claim, claims, want string }{
		{"groups", `{"groups": ["x", "leads"]}`, "reviewer"}, {"groups", `{"groups": "boss"}`, "admin"}, {"groups", `{"groups": ["leads", "boss"]}`, "admin"}, {"groups", `{}`, "labeler"},
		{"groups", `{"groups": 5}`, "labeler"}, {"groups", `{"groups": [5, null, "boss"]}`, "admin"}, {"realm.roles", `{"realm": {"roles": ["leads"]}}`, "reviewer"},
		{"https://x.example/role", `{"https://x.example/role": "leads"}`, "reviewer"}, {"a.b", `{"a": "boss"}`, "labeler"},
	} {
		c.RoleClaim, c.RoleOfValue = x.claim, []Mapped{{"boss", "admin"}, {"leads", "reviewer"}}
		var claims map[string]any
		if err := json.Unmarshal([]byte(x.claims), &claims); err != nil {
			t.Fatal(err)
		}
		if role, mapped := c.RoleOf(claims); role != x.want || !mapped {
			t.Errorf("%s in %s: %s, want %s", x.claim, x.claims, role, x.want)
		}
	}
}
