//! http.md, from the table of routes.

use ghostport::web::{Access, ROUTES, Route};

use crate::markdown::{code, table};

/// The page.
pub(crate) fn page() -> String {
    let rows = ROUTES.iter().map(|route| {
        [
            code(&format!("{} {}", method(route), route.path)),
            access(route).into(),
            route.answer.into(),
        ]
    });
    let parameters = ROUTES.iter().flat_map(|route| {
        let row = |parameter: &ghostport::web::Parameter| {
            [code(route.path), code(parameter.example), parameter.help.into()]
        };
        route.parameters.iter().map(row)
    });
    format!(
        "# HTTP\n\n\
         Source: `monitor/src/web/table.rs`. [The web server](../operate/web-server.md) says how to \
         configure listeners, TLS and passwords, and which clients `web.details` allows.\n\n\
         The server listens on `web.listen` and on the Unix socket `/run/ghostport/api.sock`. It \
         speaks HTTP/1.1 and answers `GET` and `HEAD`, orders over the Unix socket by `POST`; another \
         method gets 405.\n\n\
         ## Routes\n\n{}\n\
         *Open*: every client that passes TLS and passwords. *Details*: clients that `web.details` \
         allows, and always those of the Unix socket. *Socket*: those of the Unix socket alone.\n\n\
         ## Parameters\n\n{}\n\
         An unknown parameter is an error.\n\n\
         ## Answers\n\n\
         Answers under `/api/v1` are JSON. A field whose value is unknown is absent. An error is \
         `{{\"error\": \"…\"}}` with status 400 for a query that makes no sense, 403 for a client that \
         may not read details, 404 for an unknown port or route, and 503 for what cannot be answered \
         now.\n",
        table(["route", "who may read it", "answer"], rows),
        table(["route", "parameter", "what it does"], parameters),
    )
}

const fn access(route: &Route) -> &'static str {
    match route.access {
        Access::Open => "open",
        Access::Details => "details",
        Access::Socket => "socket",
    }
}

/// What is for the Unix socket alone is an order.
const fn method(route: &Route) -> &'static str {
    match route.access {
        Access::Open | Access::Details => "GET",
        Access::Socket => "POST",
    }
}
