package web

import (
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/rankloop/rankloop/web/lang"
	"github.com/rankloop/rankloop/web/setting"
)

// server is the handler behind New.
type server struct {
	Config
	Deps
	engine    *gin.Engine
	rules     map[string]access // method and route -> who may use it
	scopes    map[string]string // of these, with keys: the scope that is not completions
	streams   map[string]bool   // routes without a deadline for the whole request
	speaks    lang.Languages
	pages     map[string]map[string]*template.Template // by language and name
	assets    map[string]asset
	help      map[string][]helpPage // by language
	labels    *limiter              // rankings and skips, by user
	calls     *limiter              // all other calls of the labeling page, by user
	api       *limiter              // API requests, by key
	tokens    *limiter              // tokens of API requests, by key
	flight    flights               // tokens set aside for the quotas of keys
	joins     *limiter              // what is asked of links to join, by address
	flows     *limiter              // sign-ins by providers that begin, by address
	reference reference
	scoring   turns // of outside trainers
}

// build makes the server and its outermost handler.
func build(c Config, d Deps) (http.Handler, *server, error) {
	c = c.withDefaults()
	s := &server{Config: c, Deps: d, rules: map[string]access{}, scopes: map[string]string{}, streams: map[string]bool{},
		labels: newLimiter(time.Now), calls: newLimiter(time.Now), api: newLimiter(time.Now), tokens: newLimiter(time.Now), joins: newLimiter(time.Now), flows: newLimiter(time.Now), scoring: newTurns(rewardQueue)}
	s.Settings.Usual(setting.LabelsPerMinute, float64(c.LabelsPerMinute))
	s.Settings.Usual(setting.AnswerTokens, float64(c.MaxTokens))
	if s.Meter == nil {
		s.Meter = NewMeter(d.Serving)
	}
	var err error
	if s.speaks, err = lang.Load(); err != nil {
		return nil, nil, fmt.Errorf("web: languages: %w", err)
	}
	if s.assets, err = loadAssets(s.speaks); err != nil {
		return nil, nil, fmt.Errorf("web: static files: %w", err)
	}
	s.pages, s.help = map[string]map[string]*template.Template{}, map[string][]helpPage{}
	for _, l := range s.speaks {
		if s.pages[l.Tag], err = pagesOf(c.Version, s.assets, s.speaks, l); err != nil {
			return nil, nil, fmt.Errorf("web: pages: %w", err)
		}
		if s.help[l.Tag], err = loadHelp(l); err != nil {
			return nil, nil, fmt.Errorf("web: help: %w", err)
		}
	}
	if s.reference, err = loadReference(); err != nil {
		return nil, nil, fmt.Errorf("web: reference: %w", err)
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.RedirectTrailingSlash, e.RedirectFixedPath = false, false
	e.HandleMethodNotAllowed = true
	e.MaxMultipartMemory = 1 << 20
	if err := e.SetTrustedProxies(c.TrustedProxies); err != nil {
		return nil, nil, fmt.Errorf("web: trusted proxies: %w", err)
	}
	s.engine = e
	if s.Tracer != nil {
		e.Use(s.traced)
	}
	e.Use(s.counted, s.recovery, s.admit, s.deadline)
	e.NoRoute(func(c *gin.Context) {
		if shapeOf(c.Request) == shapePage {
			s.useSession(c) // for the menu, the language and the way back; nobody needs to be signed in to get lost
		}
		s.fail(c, s.unknown(c))
	})
	e.NoMethod(func(c *gin.Context) { s.fail(c, s.wrongMethod(c)) })
	s.routes()
	return s.guard(e), s, nil
}

// route adds a route with the rule of who may use it. A route that is added otherwise is refused to everybody.
func (s *server) route(a access, method, path string, h ...gin.HandlerFunc) {
	s.rules[method+" "+path] = a
	s.engine.Handle(method, path, h...)
}

// scoped is route for keys of a scope of their own.
func (s *server) scoped(scope, method, path string, h ...gin.HandlerFunc) {
	s.scopes[method+" "+path] = scope
	s.route(keys, method, path, h...)
}

// stream is route for answers that take as long as they take.
func (s *server) stream(a access, method, path string, h ...gin.HandlerFunc) {
	s.streams[method+" "+path] = true
	s.route(a, method, path, h...)
}

const (
	get  = http.MethodGet
	post = http.MethodPost
	put  = http.MethodPut
)

func (s *server) routes() {
	s.route(anyone, get, "/healthz", s.healthz)
	s.route(anyone, get, "/readyz", s.readyz)
	s.route(anyone, get, "/static/*path", s.static)
	s.route(anyone, http.MethodHead, "/static/*path", s.static)
	s.route(anyone, get, "/login", s.loginPage)
	s.route(anyone, post, "/login", s.login)
	s.route(anyone, post, "/look", s.setLook)

	s.route(signedIn, get, "/", s.home)
	s.route(signedIn, post, "/logout", s.logout)
	if s.Components {
		s.route(admins, get, "/dev/components", s.componentsPage)
	}
	s.providerRoutes()
	s.accountRoutes()
	s.route(signedIn, get, "/docs", s.docsPage)
	s.route(signedIn, get, "/docs/:page", s.docsPage)
	s.route(signedIn, get, "/docs/reference", s.referencePage)

	s.route(labelers, post, "/label/api/claim", s.claim)
	s.route(labelers, post, "/label/api/undo", s.undo)
	s.route(labelers, put, "/label/api/assignments/:id/draft", s.saveDraft)
	s.route(labelers, post, "/label/api/assignments/:id/submit", s.submit)
	s.route(labelers, post, "/label/api/assignments/:id/skip", s.skip)
	s.route(labelers, post, "/label/api/assignments/:id/renew", s.renew)
	s.route(labelers, post, "/label/api/assignments/:id/release", s.release)

	s.screenRoutes()
	s.qualityRoutes()
	s.labelPages()
	s.projectPages()
	s.adminRoutes()
	s.liveRoutes()
	s.jobRoutes()
	s.healthRoutes()
	s.settingRoutes()
	s.lineageRoutes()
	s.compareRoutes()
	s.peopleRoutes()
	s.labelingRoutes()
	s.dataRoutes()
	s.chatRoutes()
	s.engineRoutes()
	s.apiRoutes()
	s.feedbackRoutes()
}

// healthz says that the process runs; readyz that it can do its work.
func (s *server) healthz(c *gin.Context) { c.String(http.StatusOK, "ok\n") }

func (s *server) readyz(c *gin.Context) {
	if err := s.Ping(c.Request.Context()); err != nil {
		c.String(http.StatusServiceUnavailable, "database: not reachable\n")
		return
	}
	served, err := s.Serving.Acquire()
	if err != nil {
		c.String(http.StatusServiceUnavailable, "policy: none serves\n")
		return
	}
	defer served.Release()
	c.String(http.StatusOK, "ready\nserving %s\n", served.Name)
}
