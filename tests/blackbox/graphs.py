"""Graphs as text. What a test fills in later (`%s`, `%(name)s`) may stand in any word.

A spec is what is between the braces. Providers are given by name: an address, or a list in brackets
as the graph has it."""


def graph_of(*documents):
    return "---\n".join(documents)


def document(kind, name, spec):
    return (f"apiVersion: offshoot.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
            f"spec: {{{spec}}}\n")


def service(name, spec=""):
    return document("Service", name, spec)


def gateway(routes, spec="", name="edge"):
    """routes: {path: service}, where more of a route may follow the service's name."""
    listed = ", ".join(f"{{path: {path}, service: {to}}}" for path, to in routes.items())
    return document("Gateway", name, joined("defaultEnvironment: main", spec,
                                            listed and f"routes: [{listed}]"))


def baseline(name="main", spec="", **providers):
    return document("Environment", name, joined("mode: baseline", spec, provides(providers)))


def overlay(name, spec="", parent="main", **providers):
    head = f"mode: overlay, parent: {parent}"
    return document("Environment", name, joined(head, spec, provides(providers)))


def joined(*parts):
    return ", ".join(filter(None, parts))


def provides(providers):
    if not providers:
        return ""
    listed = ((name, at if at[0] == "[" else f'["{at}"]') for name, at in providers.items())
    return "providers: {" + ", ".join(f"{n}: {{endpoints: {at}}}" for n, at in listed) + "}"
