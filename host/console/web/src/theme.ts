// Light or dark: as the system is, or as the user chose.

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "nebula-theme";

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    // The browser keeps nothing for this page.
    return "system";
  }
}

export const theme = signal<Theme>(stored());

/** Counts the changes of the colours, for drawings that copy them. */
export const colours = signal(0);

effect(() => {
  const chosen = theme.value;
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // The choice holds until the page is closed.
  }
  colours.value = colours.peek() + 1;
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  colours.value += 1;
});
