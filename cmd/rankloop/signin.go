package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

// loadProviders reads the file that names the providers people may sign in by, and the secrets that it points to. Relative names of files
// are beside it. No file is no provider.
func loadProviders(ctx context.Context, file string) ([]*oidc.Provider, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []oidc.Config
	if err := strictJSON(raw, &list); err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", file, err)}
	}
	var roles []string
	for _, r := range account.Roles {
		if r != account.RoleOwner { // who owns an installation is decided in it
			roles = append(roles, string(r))
		}
	}
	var out []*oidc.Provider
	seen := map[string]bool{}
	for _, c := range list {
		c = c.WithDefaults()
		if err := c.Validate(roles); err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", file, err)}
		}
		if seen[c.Name] {
			return nil, usageError{fmt.Errorf("%s: there are two providers %q", file, c.Name)}
		}
		seen[c.Name] = true
		if c.ClientSecret, err = clientSecret(c, filepath.Dir(file)); err != nil {
			return nil, usageError{fmt.Errorf("%s: provider %q: %w", file, c.Name, err)}
		}
		client, err := outboundClient(ctx, c.Issuer)
		if err != nil {
			return nil, err
		}
		out = append(out, oidc.New(c, client))
	}
	return out, nil
}

// clientSecret is the secret of a client, empty for a public one.
func clientSecret(c oidc.Config, dir string) (string, error) {
	switch {
	case c.SecretEnv != "":
		v := os.Getenv(c.SecretEnv)
		if v == "" {
			return "", fmt.Errorf("client_secret_env: %s is not set", c.SecretEnv)
		}
		return v, nil
	case c.SecretFile != "":
		name := c.SecretFile
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("client_secret_file: %w", err)
		}
		v := strings.TrimSpace(string(raw))
		if v == "" {
			return "", errors.New("client_secret_file: the file is empty")
		}
		return v, nil
	}
	return "", nil
}
