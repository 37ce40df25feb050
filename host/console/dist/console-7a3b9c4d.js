const session = await fetch("/api/v1/session");
document.body.textContent = session.ok ? (await session.json()).name : "signed out";
