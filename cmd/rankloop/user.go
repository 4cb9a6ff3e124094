package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rankloop/rankloop/web/account"
)

type userCmd struct {
	List          userListCmd    `cmd:"" help:"List accounts by address."`
	ResetPassword userResetCmd   `cmd:"" help:"Make a link with which somebody chooses a new password, once, within an hour."`
	Role          userRoleCmd    `cmd:"" help:"Change what somebody may do."`
	Disable       userDisableCmd `cmd:"" help:"Keep somebody from signing in; sessions and keys stop, work stays."`
	Enable        userEnableCmd  `cmd:"" help:"Let somebody who was disabled sign in again."`
	SignOut       userSignOutCmd `cmd:"" help:"End all sessions of somebody."`
}

// userLine is an account as the command line prints it.
type userLine struct {
	ID         string       `json:"id"`
	Email      string       `json:"email"`
	Name       string       `json:"name"`
	Role       account.Role `json:"role"`
	CreatedAt  time.Time    `json:"created_at"`
	DisabledAt *time.Time   `json:"disabled_at"`
}

type userListCmd struct {
	serverFlags
	Text string `help:"Part of the address or the name."`
	Role string `help:"labeler, reviewer, analyst, customer, admin or owner."`
	JSON bool   `name:"json" help:"One JSON line per account."`
}

func (userListCmd) Help() string { return "Example:\n  rankloop user list --role labeler --json" }

func (c userListCmd) Run(ctx context.Context, std streams) error {
	if r := account.Role(c.Role); r != "" && !r.Valid() {
		return usageError{fmt.Errorf("--role %s is not one of the roles", c.Role)}
	}
	return c.with(ctx, std, func(a *app) error {
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
		enc := json.NewEncoder(std.out)
		f := account.UserFilter{Text: c.Text, Role: account.Role(c.Role), Limit: 200}
		for {
			list, err := a.accounts.FindUsers(ctx, f)
			if err != nil {
				return err
			}
			for _, u := range list {
				if c.JSON {
					err = enc.Encode(userLine{u.ID, u.Email, u.Name, u.Role, u.CreatedAt, u.DisabledAt})
				} else {
					state := ""
					if u.DisabledAt != nil {
						state = "disabled"
					}
					_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Email, u.Role, u.Name, state)
				}
				if err != nil {
					return err
				}
			}
			if len(list) < f.Limit {
				return w.Flush()
			}
			f.After = list[len(list)-1].Email
		}
	})
}

// userArg is who a command is about.
type userArg struct {
	serverFlags
	Email string `arg:"" help:"Address of the account."`
}

func (c userArg) user(ctx context.Context, a *app) (account.User, error) {
	u, err := a.accounts.UserByEmail(ctx, c.Email)
	if errors.Is(err, account.ErrNotFound) {
		return u, fmt.Errorf("nobody has the address %s: 'rankloop user list' shows who there is", c.Email)
	}
	return u, err
}

// act runs do on the account and says that it is done.
func (c userArg) act(ctx context.Context, std streams, done string, do func(a *app, u account.User) error) error {
	return c.with(ctx, std, func(a *app) error {
		u, err := c.user(ctx, a)
		if err != nil {
			return err
		}
		err = do(a, u)
		if errors.Is(err, account.ErrConflict) {
			return fmt.Errorf("%s is the last owner, or the last who administers: make somebody else one first", u.Email)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", u.Email, err)
		}
		_, err = fmt.Fprintf(std.out, "%s %s\n", u.Email, done)
		return err
	})
}

type userResetCmd struct {
	userArg
	URL  string `name:"url" help:"Where people reach the pages." default:"http://127.0.0.1:8080"`
	JSON bool   `name:"json" help:"Print the link as JSON."`
}

func (userResetCmd) Help() string {
	return "Prints the link once; hand it over safely. The old password works until the link is used.\n\nExample:\n  rankloop user reset-password mina@example.com --url https://rankloop.example.com"
}

func (c userResetCmd) Run(ctx context.Context, std streams) error {
	base, err := url.Parse(c.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return usageError{fmt.Errorf("--url %q is not an address such as https://rankloop.example.com", c.URL)}
	}
	return c.with(ctx, std, func(a *app) error {
		u, err := c.user(ctx, a)
		if err != nil {
			return err
		}
		i, token, err := a.accounts.InvitePassword(ctx, u.ID, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Email, err)
		}
		link := strings.TrimSuffix(c.URL, "/") + "/join/" + token
		if c.JSON {
			return json.NewEncoder(std.out).Encode(map[string]any{"email": u.Email, "link": link, "expires_at": i.ExpiresAt})
		}
		_, err = fmt.Fprintf(std.out, "%s chooses a new password here, once, until %s (shown this once):\n%s\n", u.Email, i.ExpiresAt.UTC().Format(time.RFC3339), link)
		return err
	})
}

type userRoleCmd struct {
	userArg
	Role string `arg:"" help:"labeler, reviewer, analyst, customer, admin or owner."`
}

func (userRoleCmd) Help() string { return "Example:\n  rankloop user role mina@example.com reviewer" }

func (c userRoleCmd) Run(ctx context.Context, std streams) error {
	return c.act(ctx, std, "is "+c.Role+" now", func(a *app, u account.User) error {
		return a.accounts.SetRole(ctx, u.ID, account.Role(c.Role), "command line")
	})
}

type userDisableCmd struct{ userArg }

func (userDisableCmd) Help() string { return "Example:\n  rankloop user disable mina@example.com" }

func (c userDisableCmd) Run(ctx context.Context, std streams) error {
	return c.act(ctx, std, "is disabled", func(a *app, u account.User) error { return a.accounts.Disable(ctx, u.ID, "command line") })
}

type userEnableCmd struct{ userArg }

func (userEnableCmd) Help() string { return "Example:\n  rankloop user enable mina@example.com" }

func (c userEnableCmd) Run(ctx context.Context, std streams) error {
	return c.act(ctx, std, "is enabled", func(a *app, u account.User) error { return a.accounts.Enable(ctx, u.ID, "command line") })
}

type userSignOutCmd struct{ userArg }

func (userSignOutCmd) Help() string { return "Example:\n  rankloop user sign-out mina@example.com" }

func (c userSignOutCmd) Run(ctx context.Context, std streams) error {
	return c.act(ctx, std, "is signed out everywhere", func(a *app, u account.User) error {
		return a.accounts.RevokeSessions(ctx, u.ID, "", "command line")
	})
}
