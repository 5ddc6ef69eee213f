// The documentation of the HTTP interface, drawn by swagger-ui from /openapi.json.

import { find, make } from "./dom.js";
import { STRINGS } from "./strings.js";

const script = make("script", { src: "app/vendor/swagger/swagger-ui-bundle.js" });
script.addEventListener("load", () => {
  const draw = /** @type {any} */ (window).SwaggerUIBundle;
  draw({ url: "openapi.json", domNode: find("#docs"), deepLinking: true, validatorUrl: null });
});
script.addEventListener("error", () => {
  find("#docs").append(make("p", {}, `${STRINGS.docsMissing} `, make("a", { href: "openapi.json" }, "openapi.json")));
});
document.head.append(script);
