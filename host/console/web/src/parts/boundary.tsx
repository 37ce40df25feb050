// A fault of the page itself: it takes a view away, not the page.

import { Component, type ComponentChildren } from "preact";

import { sentence } from "../api/problem.ts";

interface BoundaryProps {
  /** The address of the view. A fault ends with it. */
  place: string;
  children: ComponentChildren;
}

interface BoundaryState {
  fault: { error: unknown } | undefined;
}

export class Boundary extends Component<BoundaryProps, BoundaryState> {
  override state: BoundaryState = { fault: undefined };

  override componentDidCatch(error: unknown): void {
    this.setState({ fault: { error } });
  }

  override componentDidUpdate({ place }: BoundaryProps): void {
    if (place !== this.props.place && this.state.fault) this.setState({ fault: undefined });
  }

  override render(): ComponentChildren {
    const { fault } = this.state;
    if (!fault) return this.props.children;
    return (
      <div class="box bad" role="alert">
        <p>
          <strong>The console can't show this</strong>
        </p>
        <p>It has a fault: {sentence(fault.error)}</p>
        <button type="button" onClick={() => location.reload()}>
          Load the page again
        </button>
      </div>
    );
  }
}
