import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { KubeConfig } from '@kubernetes/client-node';

/** Any object as it stands in a manifest. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

interface ResourceList {
  readonly resources: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
  }[];
}

/** What a request may say beside its object. */
export interface RequestOptions {
  readonly dryRun?: boolean;
  /** Groups that the administrator acts in, as this user. */
  readonly as?: { readonly user: string; readonly groups: readonly string[] };
}

const messageOf = (body: unknown): string => (body as { message: string }).message;

interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly warning: string;
}

/** The API server refused a request: its own words are the message. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * Objects go to the API server exactly as they are, with strict field validation: a typed client would drop what it
 * does not know.
 */
export class ApiServer {
  readonly #config = new KubeConfig();
  readonly #resources = new Map<string, Promise<ResourceList>>();

  /** @param kubeconfig path of the administrator's kubeconfig. */
  constructor(kubeconfig: string) {
    this.#config.loadFromFile(kubeconfig);
  }

  /** @throws {Refused} */
  create<T extends KubernetesObject>(object: T, options: RequestOptions = {}): Promise<T> {
    return this.#collectionOf(object).then((path) => this.call<T>('POST', path, object, options));
  }

  /**
   * Server-side apply, which is what Argo CD does.
   * @throws {Refused}
   */
  async apply<T extends KubernetesObject>(object: T, options: RequestOptions = {}): Promise<T> {
    const path = `${await this.#collectionOf(object)}/${object.metadata.name}?fieldManager=wormhole-test&force=true`;
    return this.call<T>('PATCH', path, object, options, 'application/apply-patch+yaml');
  }

  /** Deletes it, in the background, if it is there. */
  async remove(object: KubernetesObject): Promise<void> {
    const path = `${await this.#collectionOf(object)}/${object.metadata.name}`;
    const { status, body } = await this.#send('DELETE', `${path}?propagationPolicy=Background`);
    if (status >= 400 && status !== 404) throw new Refused(status, messageOf(body));
  }

  /** @throws {Refused} */
  async call<T>(
    method: string,
    path: string,
    object?: unknown,
    options: RequestOptions = {},
    contentType = 'application/json',
  ): Promise<T> {
    const query = method === 'GET' ? '' : `fieldValidation=Strict${options.dryRun ? '&dryRun=All' : ''}`;
    const url = query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;
    const impersonation = options.as && {
      'Impersonate-User': options.as.user,
      'Impersonate-Group': [...options.as.groups],
    };
    const headers = { 'Content-Type': contentType, ...impersonation };
    const { status, body } = await this.#send(method, url, headers, object);
    if (status >= 400) throw new Refused(status, messageOf(body));
    return body as T;
  }

  /** @returns what the API server warns of when it is asked to create this, whether or not it would. */
  async warningsOf(object: KubernetesObject): Promise<string> {
    const path = `${await this.#collectionOf(object)}?dryRun=All`;
    const { warning } = await this.#send('POST', path, { 'Content-Type': 'application/json' }, object);
    return warning;
  }

  async #collectionOf({ apiVersion, kind, metadata }: KubernetesObject): Promise<string> {
    const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    let resources = this.#resources.get(group);
    if (resources === undefined) {
      resources = this.call<ResourceList>('GET', group);
      this.#resources.set(group, resources);
    }
    const found = (await resources).resources.find(
      ({ name, ...r }) => r.kind === kind && !name.includes('/'),
    );
    if (found === undefined) throw new Error(`the API server has no kind ${kind} in ${apiVersion}`);
    return `${group}${found.namespaced ? `/namespaces/${metadata.namespace!}` : ''}/${found.name}`;
  }

  async #send(method: string, path: string, headers = {}, object?: unknown): Promise<Answer> {
    const url = new URL(`${this.#config.getCurrentCluster()!.server}${path}`);
    const options = { method, headers: { ...headers, Accept: 'application/json' } };
    await this.#config.applyToHTTPSOptions(options);
    return new Promise((resolve, reject) => {
      request(url, options, (response) => {
        const {
          statusCode: status = 0,
          headers: { 'content-type': type, warning = '' },
        } = response;
        text(response).then((answer) => {
          // What is not there at all is answered with plain text.
          const body: unknown = type === 'application/json' ? JSON.parse(answer) : { message: answer };
          resolve({ status, body, warning });
        }, reject);
      })
        .on('error', reject)
        .end(object === undefined ? undefined : JSON.stringify(object));
    });
  }
}

/** @returns what the API server said when it refused, or null if it did not. */
export const refusalOf = async (request: Promise<unknown>): Promise<string | null> => {
  try {
    await request;
    return null;
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
};
