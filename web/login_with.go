package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/account"
	"github.com/rankloop/rankloop/web/oidc"
)

// Signing in by a provider: a link leads there, the provider sends the browser back to the callback. No form does, since the content policy
// lets forms go nowhere else.

const (
	signInPath     = "/login/with/:provider"
	flowsPerMinute = 30 // sign-ins by providers that one address begins
)

func (s *server) providerRoutes() {
	s.route(anyone, get, signInPath, s.beginSignIn)
	s.route(anyone, get, signInPath+"/callback", s.finishSignIn)
	s.route(anyone, get, "/login/link", s.offerPage)
	s.route(anyone, post, "/login/link", s.takeOffer)
	s.route(signedIn, get, "/account/link/:provider", s.beginLink)
	s.route(signedIn, post, "/account/identities/:id/remove", s.removeIdentity)
}

// providerLink is a link to a provider.
type providerLink struct{ Title, URL string }

// provider is the one with the name; nil: none has it.
func (s *server) provider(name string) *oidc.Provider {
	for _, p := range s.Providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// flowCookie ties a sign-in that is under way, or an offer, to the browser.
func (s *server) flowCookie() string {
	if s.HTTPS {
		return "__Host-rl-flow"
	}
	return "rl_flow"
}

func (s *server) setFlowCookie(c *gin.Context, value string, maxAge int) {
	http.SetCookie(c.Writer, &http.Cookie{Name: s.flowCookie(), Value: value, Path: "/", MaxAge: maxAge,
		Secure: s.HTTPS, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// absolute is the address of a path as the reader's own browser would write it.
func (s *server) absolute(c *gin.Context, path string) string {
	u := url.URL{Scheme: "http", Host: c.Request.Host, Path: path}
	if s.HTTPS {
		u.Scheme = "https"
	}
	return u.String()
}

func (s *server) callbackURL(c *gin.Context, p *oidc.Provider) string {
	return s.absolute(c, "/login/with/"+p.Name+"/callback")
}

func (s *server) beginSignIn(c *gin.Context) {
	next := c.Query("next")
	if !localPath(next) {
		next = ""
	}
	s.goToProvider(c, account.SignIn{Next: next})
}

// beginLink has somebody who is signed in prove an identity, to sign in by it from then on.
func (s *server) beginLink(c *gin.Context) {
	s.goToProvider(c, account.SignIn{Next: "/account", UserID: user(c).ID})
}

func (s *server) goToProvider(c *gin.Context, in account.SignIn) {
	p := s.provider(c.Param("provider"))
	if p == nil {
		s.fail(c, s.unknown(c))
		return
	}
	ok, _, _, wait := s.flows.take(c.ClientIP(), flowsPerMinute)
	if !ok {
		refused := status(http.StatusTooManyRequests, "too many requests; slow down")
		refused.Retry = wait
		s.fail(c, refused)
		return
	}
	ctx := c.Request.Context()
	in.Provider, in.Nonce, in.Verifier = p.Name, oidc.NewVerifier(), oidc.NewVerifier()
	state, browser, err := s.Accounts.BeginSignIn(ctx, in)
	if err != nil {
		s.fail(c, err)
		return
	}
	to, err := p.SignInURL(ctx, s.callbackURL(c, p), state, in.Nonce, in.Verifier)
	if err != nil {
		s.refuseSignIn(c, p, err)
		return
	}
	s.setFlowCookie(c, browser, int(account.SignInLife.Seconds()))
	c.Redirect(http.StatusFound, to)
}

// finishSignIn is where a provider sends the browser back to.
func (s *server) finishSignIn(c *gin.Context) {
	p := s.provider(c.Param("provider"))
	if p == nil {
		s.fail(c, s.unknown(c))
		return
	}
	ctx := c.Request.Context()
	in, err := s.Accounts.TakeSignIn(ctx, p.Name, c.Query("state"), cookie(c, s.flowCookie()))
	if err != nil {
		s.refuseSignIn(c, p, err)
		return
	}
	s.setFlowCookie(c, "", -1)
	if code := c.Query("error"); code != "" {
		s.Log.Info("provider refused a sign-in", "provider", p.Name, "code", clipRunes(code, 60))
		s.refuseSignIn(c, p, errDeclined)
		return
	}
	person, err := p.Redeem(ctx, s.callbackURL(c, p), c.Query("code"), in.Nonce, in.Verifier)
	if err != nil {
		s.refuseSignIn(c, p, err)
		return
	}
	identity := account.Identity{Issuer: person.Issuer, Subject: person.Subject, Provider: p.Name, Email: person.Email}
	if in.UserID != "" {
		s.finishLink(c, p, in, identity)
		return
	}
	e := account.Entry{Identity: identity, Name: person.Name, Next: in.Next, From: from(c)}
	role, mapped := p.RoleOf(person.Claims)
	e.Role, e.Mapped, e.Make = account.Role(role), mapped, p.Allows(person.Email)
	out, err := s.Accounts.Enter(ctx, e)
	switch {
	case err != nil:
		s.refuseSignIn(c, p, err)
	case out.Offer != "":
		s.setFlowCookie(c, out.Offer, int(account.SignInLife.Seconds()))
		c.Redirect(http.StatusSeeOther, "/login/link")
	default:
		s.enter(c, out.Token, out.User, in.Next)
	}
}

// finishLink ties the identity to the account that began the link, if it is still the one that is signed in.
func (s *server) finishLink(c *gin.Context, p *oidc.Provider, in account.SignIn, identity account.Identity) {
	if err := s.useSession(c); err != nil || user(c).ID != in.UserID {
		s.refuseSignIn(c, p, account.ErrNotFound)
		return
	}
	err := s.Accounts.LinkIdentity(c.Request.Context(), in.UserID, identity)
	if errors.Is(err, account.ErrConflict) {
		err = errLinked
	}
	if err != nil {
		s.refuseSignIn(c, p, err)
		return
	}
	done(c, in.Next, "linked")
}

var (
	errDeclined = errors.New("the provider says that it was declined")
	errLinked   = errors.New("the identity is tied to another account")
)

// signInErrors say what went wrong and what helps. %s is the provider.
var signInErrors = []struct {
	err    error
	status int
	says   sentence
}{
	{oidc.ErrUnreachable, http.StatusBadGateway, "%s does not answer at the moment. Try again later, or sign in with your password."},
	{oidc.ErrRefused, http.StatusBadGateway, "%s did not confirm the sign-in. Try again; if it stays so, tell an admin."},
	{oidc.ErrToken, http.StatusBadGateway, "What %s sent does not prove who you are. Try again; if it stays so, tell an admin."},
	{oidc.ErrUnverified, http.StatusForbidden, "%s has not verified your e-mail address. Verify it there, then try again."},
	{errDeclined, http.StatusForbidden, "The sign-in at %s was declined or cancelled."},
	{errLinked, http.StatusConflict, "This identity at %s signs in to another account already."},
	{account.ErrNoAccount, http.StatusForbidden, "There is no account for your address at %s. Ask an admin for an invitation."},
	{account.ErrNotFound, http.StatusBadRequest, "This sign-in at %s is over: it took too long, was used before, or began in another browser. Begin again."},
	{account.ErrDenied, http.StatusForbidden, "The account that you use with %s is disabled. Ask an admin."},
	{account.ErrConflict, http.StatusConflict, "Somebody signed in by %s at the same moment. Try again."},
}

// refuseSignIn shows the page for signing in, or the account of somebody who is signed in, with what went wrong; causes that people cannot mend go to the log.
func (s *server) refuseSignIn(c *gin.Context, p *oidc.Provider, err error) {
	for _, e := range signInErrors {
		if !errors.Is(err, e.err) {
			continue
		}
		if e.status == http.StatusBadGateway {
			s.Log.Warn("sign-in by a provider failed", "provider", p.Name, "request", requestID(c.Request), "error", err)
		}
		if says := s.say(c, string(e.says), p.Title); s.useSession(c) == nil {
			s.showAccount(c, e.status, says)
		} else {
			s.showLogin(c, e.status, loginData{Error: says})
		}
		return
	}
	s.fail(c, err)
}

// signOutAt is where somebody whose session a provider had opened is still signed in.
func (s *server) signOutAt(c *gin.Context) *providerLink {
	p := s.provider(c.Query("from"))
	if p == nil {
		return nil
	}
	to := p.SignOutURL(c.Request.Context(), s.absolute(c, "/login"))
	if to == "" {
		return nil
	}
	return &providerLink{p.Title, to}
}

type offerData struct {
	Title   string // of the provider
	Account string // address
	Error   string
	Gone    bool // the offer does not hold any more
}

func (s *server) showOffer(c *gin.Context, code int, problem string) {
	i, owner, _, err := s.Accounts.Offer(c.Request.Context(), cookie(c, s.flowCookie()))
	p := s.provider(i.Provider)
	switch {
	case errors.Is(err, account.ErrNotFound) || err == nil && p == nil:
		s.render(c, http.StatusNotFound, "link", view{Title: "Connect your account", Data: offerData{Gone: true}})
	case err != nil:
		s.fail(c, err)
	default:
		s.render(c, code, "link", view{Title: "Connect your account", Data: offerData{Title: p.Title, Account: owner, Error: problem}})
	}
}

// offerPage asks for the password of the account that has the address of an identity.
func (s *server) offerPage(c *gin.Context) { s.showOffer(c, http.StatusOK, "") }

func (s *server) takeOffer(c *gin.Context) {
	password, err := formValue(c, "password", 4096)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, secret := c.Request.Context(), cookie(c, s.flowCookie())
	_, _, next, err := s.Accounts.Offer(ctx, secret)
	var token string
	var u account.User
	if err == nil {
		token, u, err = s.Accounts.TakeOffer(ctx, secret, password, from(c))
	}
	var limit *account.LimitError
	switch {
	case errors.Is(err, account.ErrNotFound):
		s.showOffer(c, http.StatusNotFound, "")
	case errors.Is(err, account.ErrDenied):
		s.showOffer(c, http.StatusUnauthorized, s.say(c, "The password is not right."))
	case errors.As(err, &limit):
		c.Header("Retry-After", seconds(limit.RetryAfter))
		s.showOffer(c, http.StatusTooManyRequests, s.say(c, "Too many attempts. Wait a few minutes and try again."))
	case err != nil:
		s.fail(c, err)
	default:
		s.setFlowCookie(c, "", -1)
		s.enter(c, token, u, next)
	}
}

// removeIdentity lets somebody sign in by a provider no more.
func (s *server) removeIdentity(c *gin.Context) {
	err := s.Accounts.UnlinkIdentity(c.Request.Context(), user(c).ID, c.Param("id"), actor(c))
	var only *account.InvalidError
	if errors.As(err, &only) {
		s.showAccount(c, http.StatusConflict, s.say(c, "This is your only way to sign in. Ask an admin for a link that sets a password first."))
		return
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	done(c, "/account", "unlinked")
}
