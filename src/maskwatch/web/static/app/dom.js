// Small steps that every page takes with its own elements.

import { STRINGS } from "./strings.js";

/** The one element that matches; a page without it is broken, and says so.
 * @template {Element} [T=HTMLElement]
 * @param {string} selector @param {ParentNode} [parent] @returns {T} */
export function find(selector, parent = document) {
  const found = parent.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (found);
}

/** Only a change touches the page, so that screen readers are not told the same again.
 * @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Put words into all elements that name them: data-text for content, data-label for aria-label.
 * @param {ParentNode} [parent] */
export function fillWords(parent = document) {
  const words = /** @type {Record<string, unknown>} */ (STRINGS);
  for (const element of parent.querySelectorAll("[data-text]")) {
    element.textContent = String(words[/** @type {HTMLElement} */ (element).dataset.text ?? ""]);
  }
  for (const element of parent.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", String(words[/** @type {HTMLElement} */ (element).dataset.label ?? ""]));
  }
}

/** A new element with attributes and content.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {Record<string, string>} attributes @param {...(Node | string)} content
 * @returns {HTMLElementTagNameMap[K]} */
export function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

/** A copy of what a <template> holds, with its words in.
 * @param {string} id @returns {HTMLElement} */
export function stamp(id) {
  const template = /** @type {HTMLTemplateElement} */ (find(`template#${id}`));
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  fillWords(copy);
  return /** @type {HTMLElement} */ (copy.firstElementChild);
}

/** What the server told the page about itself, as data-… of <html>. */
export const facts = document.documentElement.dataset;
