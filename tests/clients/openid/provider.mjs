// An OpenID provider on loopback: provider.mjs PORT REDIRECT_URI. Everybody whose password is "secret" is known.
// Client "opaque" gets access tokens that must be asked about, client "signed" gets JWTs.
import { Provider, errors } from "oidc-provider";

const [port, redirect] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const grants = ["authorization_code", "client_credentials", "password", "urn:ietf:params:oauth:grant-type:device_code"];
const client = (client_id) => ({
  client_id,
  client_secret: "shh",
  grant_types: grants,
  response_types: ["code"],
  redirect_uris: [redirect],
});

const claimsOf = (name) => ({ sub: name, email: `${name}@example.org`, groups: ["dev", "ops"] });

const provider = new Provider(issuer, {
  clients: [client("opaque"), client("signed")],
  cookies: { keys: ["cookies of a test"] },
  claims: { openid: ["sub"], email: ["email"], profile: ["groups"] },
  scopes: ["openid", "email", "profile"],
  pkce: { required: () => false, methods: ["S256"] },
  features: {
    introspection: { enabled: true },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, who) => (who.clientId === "signed" ? "urn:pileus" : undefined),
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: "openid email profile",
        audience: "urn:pileus",
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
      }),
    },
  },
  extraTokenClaims: (ctx, token) => (token.accountId ? claimsOf(token.accountId) : { email: "robot@example.org" }),
  findAccount: (ctx, name) => ({ accountId: name, claims: () => claimsOf(name) }),
});

provider.registerGrantType(
  "password",
  async (ctx, next) => {
    const { client: who, params } = ctx.oidc;
    if (params.password !== "secret") throw new errors.InvalidGrant("wrong password");
    const grant = new provider.Grant({ accountId: params.username, clientId: who.clientId });
    grant.addOIDCScope(params.scope);
    const token = new provider.AccessToken({
      accountId: params.username,
      client: who,
      grantId: await grant.save(),
      gty: "password",
      scope: params.scope,
    });
    if (who.clientId === "signed") {
      token.resourceServer = new provider.ResourceServer("urn:pileus", {
        scope: "openid email profile",
        audience: "urn:pileus",
        accessTokenFormat: "jwt",
      });
    }
    ctx.body = {
      access_token: await token.save(),
      token_type: "Bearer",
      expires_in: token.expiration,
      scope: params.scope,
    };
    await next();
  },
  ["username", "password", "scope"],
);

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
