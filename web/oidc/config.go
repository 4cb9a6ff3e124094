package oidc

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Config is one provider, as the settings file has it.
type Config struct {
	Name         string   `json:"name"`  // in addresses and the audit log: lower case letters, digits, hyphens
	Title        string   `json:"title"` // on the button; empty: Name
	Issuer       string   `json:"issuer"`
	ClientID     string   `json:"client_id"`
	SecretFile   string   `json:"client_secret_file"` // file or environment variable with the client's secret; without
	SecretEnv    string   `json:"client_secret_env"`  // both the client is a public one, held by PKCE alone
	Scopes       []string `json:"scopes"`             // empty: openid, email, profile
	Create       bool     `json:"create"`             // whether people without an account get one
	Domains      []string `json:"domains"`            // of their e-mail addresses; needed with Create, "*" is any
	Role         string   `json:"role"`               // of an account that is made; empty: labeler
	RoleClaim    string   `json:"role_claim"`         // claim that says the role: a string or a list; "a.b" is b inside a
	RoleOfValue  []Mapped `json:"roles"`              // the first that matches counts, without one Role does
	ClientSecret string   `json:"-"`
}

// Mapped gives a role to those whose claim has a value.
type Mapped struct {
	Value string `json:"value"`
	Role  string `json:"role"`
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// WithDefaults fills in what is left out.
func (c Config) WithDefaults() Config {
	if c.Title == "" {
		c.Title = c.Name
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid", "email", "profile"}
	}
	if c.Role == "" {
		c.Role = "labeler"
	}
	return c
}

// Validate says what is wrong with the settings. roles are those that a provider may give.
func (c Config) Validate(roles []string) error {
	fail := func(field, reason string) error { return fmt.Errorf("provider %q: %s %s", c.Name, field, reason) }
	issuer, err := url.Parse(c.Issuer)
	switch {
	case !nameForm.MatchString(c.Name):
		return fail("name", "must be 1 to 32 lower case letters, digits and hyphens")
	case err != nil || issuer.Host == "" || issuer.Scheme != "https" && !(issuer.Scheme == "http" && loopback(issuer.Hostname())):
		return fail("issuer", "must be an address that begins with https://")
	case issuer.RawQuery != "" || issuer.Fragment != "" || issuer.User != nil:
		return fail("issuer", "must have no query, fragment or user")
	case c.ClientID == "":
		return fail("client_id", "is missing")
	case c.SecretFile != "" && c.SecretEnv != "":
		return fail("client_secret_file", "and client_secret_env must not both be given")
	case !slices.Contains(c.Scopes, "openid"):
		return fail("scopes", "must hold openid")
	case c.Create && len(c.Domains) == 0:
		return fail("domains", `must say whose addresses get accounts where create is true; ["*"] is anybody's`)
	case !slices.Contains(roles, c.Role):
		return fail("role", "must be one of "+strings.Join(roles, ", "))
	case len(c.RoleOfValue) > 0 && c.RoleClaim == "":
		return fail("role_claim", "is missing: roles say what its values give")
	}
	for _, m := range c.RoleOfValue {
		if m.Value == "" || !slices.Contains(roles, m.Role) {
			return fail("roles", fmt.Sprintf("must give each value one of %s; %q gives %q", strings.Join(roles, ", "), m.Value, m.Role))
		}
	}
	return nil
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// Allows says whether somebody with the address, who has no account, gets one.
func (c Config) Allows(email string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(email), "@")
	return c.Create && slices.ContainsFunc(c.Domains, func(d string) bool { return d == "*" || strings.EqualFold(d, domain) })
}

// RoleOf is the role that claims give; mapped is false where they do not decide.
func (c Config) RoleOf(claims map[string]any) (role string, mapped bool) {
	if c.RoleClaim == "" {
		return c.Role, false
	}
	values := claimValues(claims, c.RoleClaim)
	for _, m := range c.RoleOfValue {
		if slices.Contains(values, m.Value) {
			return m.Role, true
		}
	}
	return c.Role, true
}

func claimValues(claims map[string]any, name string) []string {
	v, ok := claims[name]
	if !ok {
		head, rest, cut := strings.Cut(name, ".")
		if inner, isMap := claims[head].(map[string]any); cut && isMap {
			return claimValues(inner, rest)
		}
		return nil
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
