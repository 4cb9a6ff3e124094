package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/rankloop/rankloop/web/account"
)

// serverFlags are what serve and work share.
type serverFlags struct {
	databaseFlags
	Dir     string `help:"Data folder: private Postgres, model weights, training state." default:"${data_dir}" placeholder:"DIR"`
	Verbose bool   `short:"v" help:"Log every job and request."`
}

// open joins the rooms; the caller closes the database. share: see databaseFlags.open.
func (f serverFlags) open(ctx context.Context, std streams, share bool, c appConfig) (*app, error) {
	level := slog.LevelWarn
	if f.Verbose {
		level = slog.LevelInfo
	}
	db, err := f.databaseFlags.open(ctx, f.Dir, share, noteLog(std.err, level))
	if err != nil {
		return nil, err
	}
	c.Dir = f.Dir
	a, err := newApp(ctx, db, c, newLog(std.err, level))
	if err == nil {
		err = a.ensureStarter(ctx)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return a, nil
}

type serveCmd struct {
	serverFlags
	weightsFlag
	engineFlags
	Addr        string        `help:"Address of the pages and the API." default:"127.0.0.1:8080"`
	BehindProxy bool          `help:"A proxy in front ends TLS; needed to listen on an address that others can reach."`
	LabelRPM    int           `name:"label-rpm" help:"Label requests of one person a minute." default:"60"`
	Patience    float64       `default:"0.25" help:"How long a request of the API may have to wait for a place, as a share of the time that its own answer takes; one that would wait longer is refused with 503 and the time to come again. People at the chat page wait."`
	KVCache     int64         `name:"kv-cache" help:"MB of memory for the keys and values of answers under way and of prompts that may come again; while a promoted policy takes over the former one has as much." default:"1024"`
	KeepFormer  int           `name:"keep-former" help:"Policies that served before and go on answering requests that pin them by name or id; each takes memory for its weights, and a rollback to one of them loads nothing. A canary takes as much besides while it is under way." default:"1"`
	Memory      int64         `help:"MB of memory that all policies together may take: the one that serves, those that served before and a canary, each with its weights and its --kv-cache. A canary that does not fit is refused. 0 is what the machine has free." default:"0"`
	MetricsAddr string        `help:"Address of /metrics for Prometheus and of /debug/pprof/; only this machine may reach it. Empty is none." placeholder:"127.0.0.1:9464"`
	OIDC        string        `name:"oidc" help:"JSON file that names the OpenID Connect providers people may sign in by, beside passwords; see the manual, 'Accounts, keys and privacy'." placeholder:"FILE" type:"path"`
	Components  bool          `help:"Serve /dev/components to admins: every part of the design system with canned data."`
	Work        bool          `help:"Run the background jobs in this process too." negatable:"" default:"true"`
	Slice       time.Duration `help:"Length of a training slice." default:"30s"`
}

func (serveCmd) Help() string {
	return `Serves until it is told to stop (SIGINT, SIGTERM); open requests are finished first. With --no-work the background jobs
are left to 'rankloop work' processes on the same database and data folder.

Example:
  rankloop serve --database-url postgres://rankloop@db/rankloop --addr 127.0.0.1:8080`
}

func (c serveCmd) Run(ctx context.Context, std streams) error {
	if err := loopback(c.Addr); err != nil && !c.BehindProxy {
		return usageError{fmt.Errorf("--addr %s can be reached by others, and passwords would travel in the clear: put a proxy with TLS in front and say --behind-proxy", c.Addr)}
	}
	if c.MetricsAddr != "" {
		if err := loopback(c.MetricsAddr); err != nil {
			return usageError{fmt.Errorf("--metrics-addr %w", err)}
		}
	}
	if c.KeepFormer < 0 {
		return usageError{fmt.Errorf("--keep-former %d: 0 or more is wanted", c.KeepFormer)}
	}
	if c.Patience <= 0 {
		return usageError{fmt.Errorf("--patience %g: more than 0 is wanted", c.Patience)}
	}
	if c.KVCache < 1 {
		return usageError{fmt.Errorf("--kv-cache %d: at least 1 MB is wanted", c.KVCache)}
	}
	if c.Memory < 0 {
		return usageError{fmt.Errorf("--memory %d: 0 or more MB are wanted", c.Memory)}
	}
	networks, err := c.prefixes()
	if err != nil {
		return err
	}
	providers, err := loadProviders(ctx, c.OIDC)
	if err != nil {
		return err
	}
	a, err := c.open(ctx, std, false, appConfig{Slice: c.Slice, Work: c.Work, EngineNetworks: networks})
	if err != nil {
		return err
	}
	defer a.db.Close()
	server, err := a.listen(ctx, c.Addr, serverOptions{LabelsPerMinute: c.LabelRPM, BehindProxy: c.BehindProxy, Weights: c.Weights, KVCache: c.KVCache << 20, Patience: c.Patience, KeepFormer: c.KeepFormer, Memory: c.Memory << 20, MetricsAddr: c.MetricsAddr, Providers: providers, Components: c.Components})
	if err != nil {
		return err
	}
	defer server.Close()
	if c.Work {
		stop, err := a.startWorkers(deadAfter)
		if err != nil {
			return err
		}
		defer stop()
	}
	fmt.Fprintf(std.err, "Serving http://%s\n", server.Addr())
	if users, err := a.accounts.Users(ctx); err == nil && len(users) == 0 {
		fmt.Fprintln(std.err, "There is no account yet: make one with 'rankloop admin create EMAIL'.")
	}
	<-ctx.Done()
	return nil
}

type workCmd struct {
	serverFlags
	engineFlags
	Slice     time.Duration `help:"Length of a training slice." default:"30s"`
	DeadAfter time.Duration `help:"Age of a sign of life after which a training run counts as dead and is restarted." default:"15s"`
}

func (workCmd) Help() string {
	return `Takes background jobs until it is told to stop; a training run that is under way is saved and handed back. Any number of
worker processes can share a database and a data folder.

Example:
  rankloop work --database-url postgres://rankloop@db/rankloop --dir /srv/rankloop`
}

func (c workCmd) Run(ctx context.Context, std streams) error {
	networks, err := c.prefixes()
	if err != nil {
		return err
	}
	a, err := c.open(ctx, std, true, appConfig{Slice: c.Slice, Work: true, EngineNetworks: networks})
	if err != nil {
		return err
	}
	defer a.db.Close()
	stop, err := a.startWorkers(c.DeadAfter)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.err, "Working.")
	<-ctx.Done()
	stop()
	return nil
}

type adminCmd struct {
	Create adminCreateCmd `cmd:"" help:"Create an owner's or admin's account."`
	Invite adminInviteCmd `cmd:"" help:"Create a labeler's, reviewer's, analyst's or customer's account."`
	Apikey adminKeyCmd    `cmd:"" help:"Create an API key for a customer."`
}

type adminCreateCmd struct {
	serverFlags
	Email string `arg:"" help:"Address to sign in with."`
	Name  string `help:"Name that others see."`
	Role  string `help:"owner or admin." enum:"owner,admin" default:"owner"`
}

func (adminCreateCmd) Help() string {
	return "Prints a generated password once.\n\nExample:\n  rankloop admin create ada@example.com"
}

func (c adminCreateCmd) Run(ctx context.Context, std streams) error {
	return createUser(ctx, std, c.serverFlags, account.NewUser{Email: c.Email, Name: c.Name, Role: account.Role(c.Role), Actor: "command line"})
}

type adminInviteCmd struct {
	serverFlags
	Email string `arg:"" help:"Address to sign in with."`
	Name  string `help:"Name that others see."`
	Role  string `help:"labeler, reviewer, analyst or customer." enum:"labeler,reviewer,analyst,customer" default:"labeler"`
}

func (adminInviteCmd) Help() string {
	return "Prints a generated password once; hand it over safely.\n\nExample:\n  rankloop admin invite bob@example.com --role labeler"
}

func (c adminInviteCmd) Run(ctx context.Context, std streams) error {
	return createUser(ctx, std, c.serverFlags, account.NewUser{Email: c.Email, Name: c.Name, Role: account.Role(c.Role), Actor: "command line"})
}

func createUser(ctx context.Context, std streams, f serverFlags, n account.NewUser) error {
	a, err := f.open(ctx, std, true, appConfig{})
	if err != nil {
		return err
	}
	defer a.db.Close()
	u, password, err := a.accounts.CreateUser(ctx, n)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "%s %s, password (shown this once): %s\n", u.Role, u.Email, password)
	return err
}

type adminKeyCmd struct {
	serverFlags
	Email    string        `arg:"" help:"The customer's account."`
	Name     string        `help:"What the key is for." default:"key"`
	Training bool          `help:"The customer lets its prompts be used for training."`
	Scope    []string      `help:"What it may be used for: completions, feedback, reward. May be given several times." default:"completions,feedback" placeholder:"SCOPE"`
	RPM      int           `name:"rpm" help:"Requests a minute." default:"60"`
	TPM      int           `name:"tpm" help:"Tokens a minute, of prompts and completions." default:"100000"`
	Daily    int64         `name:"daily-tokens" help:"Tokens in a day (UTC); 0 is no quota." default:"0"`
	Lifetime time.Duration `help:"Until the key expires; 0 is never." default:"0"`
}

func (adminKeyCmd) Help() string {
	return "Prints the key once.\n\nExample:\n  rankloop admin apikey shop@example.com --name playground --training\n  rankloop admin apikey lab@example.com --scope reward --tpm 1000000"
}

func (c adminKeyCmd) Run(ctx context.Context, std streams) error {
	a, err := c.open(ctx, std, true, appConfig{})
	if err != nil {
		return err
	}
	defer a.db.Close()
	u, err := a.accounts.UserByEmail(ctx, c.Email)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Email, err)
	}
	_, key, err := a.accounts.CreateKey(ctx, account.NewKey{CustomerID: u.ID, Name: c.Name, Scopes: c.Scope, TrainingOptIn: c.Training,
		RPM: c.RPM, TPM: c.TPM, DailyTokens: c.Daily, Lifetime: c.Lifetime, Actor: "command line"})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, key)
	return err
}
